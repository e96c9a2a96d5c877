"""The table of tests/speed/all.py is made from the lines of the scripts, and knows every script."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "speed"


def loaded(name: str, monkeypatch):
    """Returns a script as a module, which is in no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"speed_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def figures(monkeypatch):
    return loaded("figures", monkeypatch)


def test_every_script_is_known(monkeypatch):
    every = loaded("all", monkeypatch)
    files = {path.stem for path in FOLDER.glob("*.py")}
    assert files == {*every.SCRIPTS, *every.BY_HAND, *every.PARTS}


def test_both_forms_of_a_line_make_a_row(figures, capsys):
    figures.tell(figures.Figure("a step", 0.25, "s", "PyTorch, 0.5 s", 2.0, "at least 1.5"))
    told = capsys.readouterr().out
    old = {"name": "b", "value": 1200, "unit": "images/s", "against": "c; at least 2", "ratio": 1.5}
    found = [figures.read(told), figures.read(json.dumps(old))]
    assert figures.table(found, "a processor").splitlines()[2:] == [
        "| a step | 0.25 s | PyTorch, 0.5 s | 2 | at least 1.5 | a processor |",
        "| b | 1,200 images/s | c | 1.5 | at least 2 | a processor |",
    ]


@pytest.mark.parametrize("line", ["Epoch 1", "3", "{}", '{"seconds": 1}'])
def test_other_lines_are_no_figures(figures, line):
    assert figures.read(line) is None
