"""The work of a benchmark as Python calls it: what is planned, told and collected without flags."""

import contextlib
import threading
import time
from pathlib import Path

import pytest
from tiny_benchmarks import VALUES

from bct_keras.benchmark.cells import Cell, Job, Options
from bct_keras.benchmark.comparison import Comparison, planned, protocol_of
from bct_keras.benchmark.plan import Entry, Plan
from bct_keras.benchmark.run import facts_of
from bct_keras.benchmark.work import MeasuredMeanwhile, Progress, collected
from bct_keras.errors import InputError
from bct_keras.train.recipe import Recipe


def comparison(workdir: Path, **changed) -> Comparison:
    asked = {
        "workdir": workdir,
        "shared": Options(("--dims=8",), VALUES),
        "olds": [Entry("weak", "")],
        "methods": [Entry("l2", "l2")],
        "scenarios": ["open-class"],
        "seeds": [0],
        "source": "synthetic(identities=6, images=2, image_size=28)",
        "split": "data(old_share=0.5, test_share=0.34)",
        "told": {"--seeds": ["0"]},
    }
    return Comparison(**(asked | changed))


def test_data_are_made_and_trainings_planned(tmp_path):
    said = []
    asked = comparison(tmp_path)
    plan = planned(asked, said.append)
    # The network without constraint is planned too, and both beside one old encoder.
    assert [cell.method for cell in plan.cells] == ["independent", "l2"]
    assert len(plan.jobs) == 3
    assert len(said) == 1  # of the data set
    # By classes, with the shares of the split that was given, whatever its own kind.
    assert list(plan.data) == ["class"]
    data = plan.data["class"].folder
    assert protocol_of(asked, data) == f"retrieval({data}/test)"
    facts = facts_of(asked, plan)
    assert list(facts) == [
        "--seeds",
        "train",
        "epochs",
        "data, class",
        "classes, open-class",
        "runs",
    ]
    assert facts["train"] == ["--dims=8"]
    assert len(facts["runs"]) == 2


def test_a_protocol_that_was_asked_for_is_taken(tmp_path):
    assert protocol_of(comparison(tmp_path, protocol="lfw(x)"), tmp_path) == "lfw(x)"


def test_a_split_without_a_test_is_told(tmp_path):
    asked = comparison(tmp_path, split="class(old_share=0.5)")
    plan = planned(asked, lambda line: None)
    said = r"^split=class\(old_share=0.5\) holds no identities out for the test: give it test_share"
    with pytest.raises(InputError, match=said):
        protocol_of(asked, plan.data["class"].folder)


def test_a_typo_is_told_before_the_data_are_made(tmp_path):
    with pytest.raises(InputError, match="unknown scenario 'open'; known: open-class"):
        planned(comparison(tmp_path, scenarios=["open"]), print)
    with pytest.raises(InputError, match="mixbkt"):
        planned(comparison(tmp_path, methods=[Entry("a", "mixbkt")]), print)
    assert not list(tmp_path.iterdir())


def a_cell(name: str) -> Cell:
    return Cell(
        scenario="open-class",
        old="weak",
        method=name,
        seed=0,
        run=Path("runs") / name,
        old_encoder=Path("old.keras"),
    )


def measure(cell: Cell) -> dict:
    if cell.method == "damaged":
        raise InputError("its file is damaged")
    return {"of": cell.method}


def test_each_cell_has_a_result_or_a_reason():
    plan = Plan(Path(), Options(), {})
    plan.cells = [a_cell(name) for name in ("good", "damaged", "untrained")]
    outcome = collected(plan, measure, {Path("runs/untrained"): "the loss is nan"})
    assert outcome.results == {("open-class", "weak", "good"): {0: {"of": "good"}}}
    assert outcome.missing == {
        "open-class, old encoder weak, damaged, seed 0": "its file is damaged",
        "open-class, old encoder weak, untrained, seed 0": "the loss is nan",
    }


def test_progress_tells_of_each_training_and_measures_its_cells(monkeypatch):
    said = []
    measured = []
    progress = Progress(4, lambda cell: measured.append(cell.method), [], said.append)
    progress.cells = [a_cell("one"), a_cell("two"), a_cell("three")]
    progress.started = 0.0
    monkeypatch.setattr("bct_keras.benchmark.work.time.monotonic", lambda: 120.0)
    for name, failed in (("two", None), ("three", "the loss is nan")):
        job = Job(name, Path("runs") / name, Recipe(**VALUES, method="l2"), Path("data"))
        progress(job, failed)
    # 2 minutes for the first one: 6 for three; 1 minute for each of two: 2 for two.
    assert said == [
        "[1/4] two: trained, 6 min left",
        "[2/4] three: the loss is nan, 2 min left",
    ]
    assert measured == ["two"]


def test_cells_are_measured_while_trainings_go_on_and_what_cannot_be_is_left_for_the_end():
    may_measure = threading.Event()
    measured = []

    def measure_late(cell):
        assert may_measure.wait(30)
        if cell.method == "damaged":
            raise InputError("its file is damaged")
        measured.append(cell.method)
        return {}

    with MeasuredMeanwhile(measure_late) as meanwhile:
        for name in ("one", "damaged", "two"):
            meanwhile.measure(a_cell(name))
        assert not measured  # nobody waited for the first one
        may_measure.set()
        meanwhile.wait()
    assert measured == ["one", "two"]


def test_a_benchmark_that_is_stopped_measures_no_more_cells():
    all_asked = threading.Event()
    measured = []

    def measure_until_the_rest_is_cancelled(cell):
        assert all_asked.wait(30)
        until = time.monotonic() + 30
        while not meanwhile.asked[1].cancelled() and time.monotonic() < until:
            time.sleep(0.01)
        measured.append(cell.method)
        return {}

    meanwhile = MeasuredMeanwhile(measure_until_the_rest_is_cancelled)
    with contextlib.suppress(KeyboardInterrupt), meanwhile:
        for name in ("one", "two"):
            meanwhile.measure(a_cell(name))
        all_asked.set()
        raise KeyboardInterrupt
    assert measured == ["one"]
