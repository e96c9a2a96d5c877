"""Curves over the number of classes, from reports that are made by hand."""

import json
from pathlib import Path

import pytest

from bct_keras import artefacts
from bct_keras.benchmark.curves import page, points
from bct_keras.benchmark.report import KIND
from bct_keras.errors import InputError

METRIC = "TAR@FAR=1e-3"


def report_at(folder: Path, classes: int, gains: dict[str, list[float]], epochs: int = 5) -> Path:
    """Writes the report of a benchmark with these gains by method, and returns its folder."""
    cells = []
    for method, values in gains.items():
        measured = {"gain": {"values": values}, "tax": {"values": [0.01 for _ in values]}}
        cells.append(
            {
                "scenario": "open-class",
                "old": "weak",
                "method": method,
                "metrics": {METRIC: measured},
            }
        )
    facts = {"epochs": epochs, "classes, open-class": classes}
    with artefacts.new_folder(folder) as new:
        (new / "report.json").write_text(json.dumps({"cells": cells}))
        artefacts.write_manifest(new, KIND, facts)
    return folder


@pytest.fixture
def reports(tmp_path):
    """At 500 classes l2 gains more than bct, at 8,000 less, in both seeds."""
    few = {"independent": [-0.2, -0.2], "bct": [0.01, 0.011], "l2": [0.03, 0.031]}
    many = {"independent": [-0.3, -0.3], "bct": [0.05, 0.052], "l2": [0.02, 0.021]}
    return [
        report_at(tmp_path / "many", 8000, many),
        report_at(tmp_path / "few", 500, few),
    ]


def written(reports, tmp_path):
    lines = []
    page.write(reports, tmp_path / "out", METRIC, "independent", lines.append)
    return tmp_path / "out"


def test_the_page_tells_which_methods_change_places(reports, tmp_path):
    text = (written(reports, tmp_path) / "curves.md").read_text()
    assert (
        "old encoder weak, 5 epochs: l2 gains more at the fewest classes, bct at the most "
        "(told apart by the seeds)" in text
    )
    assert "| bct | +0.0105 ± 0.0005; tax +0.0100 ± 0.0000 | +0.0510 ± 0.0010;" in text


def test_a_plot_is_drawn_for_each_old_encoder(reports, tmp_path):
    plot = written(reports, tmp_path) / "weak.png"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_methods_whose_order_the_seeds_do_not_decide_are_named_as_such(tmp_path):
    few = report_at(tmp_path / "few", 500, {"bct": [0.01, 0.05], "l2": [0.02, 0.045]})
    many = report_at(tmp_path / "many", 8000, {"bct": [0.02, 0.05], "l2": [0.02, 0.045]})
    (swap,) = points.swaps(
        points.read_points(few, METRIC) + points.read_points(many, METRIC), "independent"
    )
    assert not swap.decided


def test_other_epochs_are_curves_of_their_own(reports, tmp_path):
    longer = report_at(tmp_path / "longer", 500, {"bct": [0.02], "l2": [0.01]}, epochs=15)
    text = (written([*reports, longer], tmp_path) / "curves.md").read_text()
    assert "## Old encoder weak, 15 epochs" in text


def test_a_metric_that_was_not_measured_is_told(reports):
    with pytest.raises(InputError, match=f"many has no top-1: there are {METRIC}"):
        points.read_points(reports[0], "top-1")


def test_a_report_of_an_earlier_version_is_told(tmp_path):
    with artefacts.new_folder(tmp_path / "early") as folder:
        (folder / "report.json").write_text(json.dumps({"cells": []}))
        artefacts.write_manifest(folder, KIND, {})
    with pytest.raises(InputError, match="the same command writes it anew"):
        points.read_points(tmp_path / "early", METRIC)
