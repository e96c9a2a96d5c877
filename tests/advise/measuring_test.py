"""The mean of several gains, and how sure it is."""

import numpy as np
import pytest

from bct_keras.advise.candidates import BACKFILL, TRAINED, Route
from bct_keras.advise.measuring import Measuring
from bct_keras.evaluate.comparison import ArrayEncoder, Arrays
from bct_keras.metrics.verdict import Rule

PEOPLE, EACH, DIMS = 80, 6, 8
LABELS = np.repeat(np.arange(PEOPLE), EACH)


def encoder(name: str, noise: float, seed: int = 1) -> ArrayEncoder:
    people = np.random.default_rng(0).normal(size=(PEOPLE, DIMS))[LABELS]
    seen = people + noise * np.random.default_rng(seed).normal(size=people.shape)
    return ArrayEncoder(name, seen.astype(np.float32))


OLD, NEW, OTHER = encoder("old", 0.9), encoder("new", 0.5, 2), encoder("other", 0.6, 3)


def route(kind: str, queries: ArrayEncoder, gallery: ArrayEncoder) -> Route:
    name = f"{kind} {queries.path}"
    return Route(
        kind=kind, name=name, queries=queries, gallery=gallery, own=queries, networks=(queries,)
    )


def measuring(*decide_by: str, protocols: tuple[str, ...] = ("one",)) -> Measuring:
    found = {name: Arrays(LABELS, 0.5) for name in protocols}
    return Measuring(found, OLD, NEW, Rule(decide_by=decide_by))


def test_the_mean_of_one_metric_is_that_metric():
    found = measuring("top-1").found(route(TRAINED, NEW, OLD))
    (facts,) = found.facts.values()
    assert found.gain.value == pytest.approx(facts["gain"]["top-1"])
    assert found.gain.interval() == pytest.approx(facts["interval"]["top-1"])
    assert [gain.name for gain in found.deciding] == ["top-1"]


def test_the_mean_of_two_metrics_is_no_surer_than_both_and_no_less_sure_than_either():
    found = measuring("top-1", "TAR@FAR=1e-2").found(route(TRAINED, NEW, OLD))
    values = [gain.value for gain in found.deciding]
    errors = [gain.error for gain in found.deciding if gain.error is not None]
    assert found.gain.value == pytest.approx(np.mean(values))
    assert found.gain.error is not None
    # The same people: their errors go together, so that the mean's is between these two.
    assert np.linalg.norm(errors) / 2 * 0.9 < found.gain.error <= np.mean(errors) * 1.001


def test_two_protocols_count_as_other_people():
    one = measuring("top-1").found(route(TRAINED, NEW, OLD)).gain
    two = measuring("top-1", protocols=("one", "another")).found(route(TRAINED, NEW, OLD)).gain
    assert two.value == pytest.approx(one.value)
    assert one.error is not None
    assert two.error == pytest.approx(one.error / np.sqrt(2))


def test_a_difference_is_on_the_same_people():
    measured = measuring("top-1")
    first, second = (measured.found(route(TRAINED, each, OLD)) for each in (OTHER, NEW))
    gap = measured.difference(first, second)
    assert gap.value == pytest.approx(second.gain.value - first.gain.value)
    back = measured.difference(second, first)
    assert back.value == pytest.approx(-gap.value)
    assert back.error == pytest.approx(gap.error)
    assert gap.error is not None
    assert first.gain.error is not None
    assert second.gain.error is not None
    assert gap.error < np.hypot(first.gain.error, second.gain.error)


def test_the_tax_is_what_a_route_has_lost_against_the_new_encoder():
    measured = measuring("top-1")
    other = measured.found(route(TRAINED, OTHER, OLD))
    whole = measured.found(route(BACKFILL, NEW, NEW))
    assert whole.tax.value == 0
    assert whole.gain.value == pytest.approx(whole.alone.value)
    assert other.tax.value == pytest.approx(whole.alone.value - other.alone.value)
