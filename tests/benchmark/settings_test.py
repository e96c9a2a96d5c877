"""Which settings of a method are tried: as it is written first, and others out of its ranges."""

import sys
import types

import pytest

from bct_keras import specs
from bct_keras.benchmark.settings import arguments_of, ranges_of, settings_of
from bct_keras.errors import InputError
from bct_keras.methods import METHODS


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_setting_can_be_built_and_no_two_are_the_same(method):
    found = settings_of(method, 8)
    assert len(found.tried) == min(8, found.possible)
    values = [arguments_of(spec) for spec in found.tried]
    assert all(one != other for place, one in enumerate(values) for other in values[:place])
    for spec in found.tried:
        specs.build(METHODS, spec, seed=0)


def test_all_methods_but_the_reference_are_tuned():
    assert [name for name in sorted(METHODS) if not ranges_of(name)] == ["independent"]
    assert settings_of("independent", 8).tried == ("independent",)


def test_what_is_written_comes_first_and_stays_where_no_range_has_it():
    found = settings_of("nccl(temperature=0.1, alpha=4, beta=0.5, queue=100)", 8)
    assert found.tried[0] == "nccl(temperature=0.1, alpha=4, beta=0.5, queue=100)"
    for spec in found.tried:
        values = arguments_of(spec)
        assert (values["beta"], values["queue"]) == (0.5, 100)
    assert settings_of("l2(2)", 3).tried[0] == "l2(2)"
    assert all(spec.startswith("l2(weight=") for spec in settings_of("l2(2)", 3).tried[1:])


def test_a_larger_budget_goes_on_from_a_smaller_one():
    eight = settings_of("gallerycontrast", 8).tried
    assert settings_of("gallerycontrast", 3).tried == eight[:3]
    assert settings_of("gallerycontrast", 8).tried == eight


def test_the_ranges_are_filled():
    """8 of 108 settings have every value of every argument, so none is left untried."""
    values = [arguments_of(spec) for spec in settings_of("two_outputs", 8).tried[1:]]
    for name, choices in ranges_of("two_outputs").items():
        assert {each[name] for each in values} == set(choices)


@pytest.mark.parametrize(("written", "possible"), [("l2", 16), ("l2(weight=7)", 17)])
def test_where_the_ranges_have_fewer_settings_all_are_tried(written, possible):
    found = settings_of(written, 50)
    assert (found.possible, len(found.tried)) == (possible, possible)


def test_a_range_of_an_argument_that_a_method_of_ones_own_does_not_have(monkeypatch):
    class Own(METHODS["l2"]):
        tuned = {"wait": (1.0, 2.0)}  # noqa: RUF012

    module = types.ModuleType("own_tuned")
    monkeypatch.setattr(module, "Own", Own, raising=False)
    Own.__module__ = "own_tuned"
    monkeypatch.setitem(sys.modules, "own_tuned", module)
    with pytest.raises(InputError, match="declares that wait is tuned, and has no such argument"):
        settings_of("own_tuned:Own", 8)
