"""The script that keeps a benchmark's numbers and sets the tables of its page."""

import json
import runpy
from pathlib import Path

import pytest

from bct_keras.benchmark import report

CONFIGS = Path(__file__).parents[1] / "configs"
METRICS = ("TAR@FAR=1e-3", "top-1")


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(CONFIGS / "measured.py"))


def result(old: float, cross: float, own: float) -> dict:
    """What a benchmark measures of one training."""
    return {
        "old/old": dict.fromkeys(METRICS, old),
        "new/old": dict.fromkeys(METRICS, cross),
        "new/new": dict.fromkeys(METRICS, own),
        "above_old": dict.fromkeys(METRICS, cross > old),
        "hot_refresh": {"top-1": 0.5},
        "verdict": "compatible",
        "seconds_per_step": 0.01,
    }


def write_report(folder: Path, seed: int, cross: float) -> Path:
    """Writes the report of two methods with one seed."""
    results = {
        ("open-class", "weak", "independent"): {seed: result(0.2, 0.0, 0.6)},
        ("open-class", "weak", "mixbct"): {seed: result(0.2, cross, 0.5)},
    }
    found = report.findings(results, "independent", METRICS[0], failed={}, made_from={})
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(found))
    return folder


def test_seeds_of_two_reports_come_together(script, tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{script['BEGIN']}\n{script['END']}\nafter\n")
    for seed, cross in ((0, 0.3), (1, 0.4), (1, 0.5)):  # the last takes the place of the one before
        written = write_report(tmp_path / f"report-{seed}-{cross}", seed, cross)
        arguments = ["measured.py", f"--folder={tmp_path}", f"--report={written}"]
        monkeypatch.setattr("sys.argv", arguments)
        script["main"]()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    # Gains of 0.1 and 0.3 have a mean of 0.2 and a deviation of 0.141.
    assert "| `mixbct` | +0.200 ± 0.141; 0.500 |" in text
    assert "| old/old | 0.200 ± 0.000 |" in text
    assert (tmp_path / "measured.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "cannot be read: No such file"),
        ('{"cells": [', "cannot be read as JSON"),
        ("{}", "cells"),
        ('{"cells": [{"seeds": [0]}]}', "is no report of a benchmark"),
    ],
)
def test_what_is_no_report_is_told_in_a_line(script, tmp_path, monkeypatch, content, error):
    if content:
        (tmp_path / "report.json").write_text(content)
    monkeypatch.setattr("sys.argv", ["measured.py", f"--folder={tmp_path}", f"--report={tmp_path}"])
    with pytest.raises(SystemExit, match=error):
        script["main"]()
    assert not (tmp_path / "measured.csv").exists()


@pytest.mark.parametrize("kept", sorted(CONFIGS.glob("*/measured.csv")), ids=str)
def test_the_tables_of_a_page_are_those_of_its_numbers(script, kept):
    table = script["page_of"](script["read"](kept))
    assert table in (kept.parent / "README.md").read_text()
