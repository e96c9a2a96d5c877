"""The command as its user types it, on stored embeddings of which the best route is known, and on
images.
"""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import simulated_encoders as simulated

from bct_keras import artefacts
from bct_keras.adapt import __main__ as adapt
from bct_keras.advise import __main__ as command
from bct_keras.advise.run import ADVICE_KIND, PAGE, PLOT, REPORT

USE = ("--gallery_size=50e6", "--queries_per_day=1e6", "--kind=linear")


def report_of(out: Path) -> dict:
    return artefacts.read_result(out, ADVICE_KIND, REPORT)


DECISIONS = {
    simulated.gallery_to_move: "Move the gallery by an adapter old -> new: ",
    simulated.queries_to_fuse: "Fuse each adapted query with the old encoder's: ",
    simulated.strong_old: "Take the trained encoder {folder}/trained.npz: ",
    simulated.no_better: "Keep the old encoder: no new encoder is shown to be better on its own",
}


@pytest.mark.parametrize("case", DECISIONS, ids=lambda case: case.__name__)
def test_the_first_line_names_the_route_that_is_best(case, tmp_path, here):
    out = tmp_path / "advice"
    named = simulated.written(tmp_path, case)
    status, said, _ = here(command, *named, *USE, f"--out={out}")
    assert status == 0
    expected = DECISIONS[case].format(folder=tmp_path)
    assert said.startswith(expected)
    commands = [step["command"] for step in report_of(out)["decision"]["next"] if step["command"]]
    then = [line for line in said.splitlines() if line.startswith("next: ")]
    assert then == [f"next: {' '.join(words)}" for words in commands]
    assert said.endswith("".join(f"{line}\n" for line in then))
    page = (out / PAGE).read_text()
    title, _, _ = expected.partition(":")
    assert f">{title.replace('>', '&gt;').replace(chr(39), '&#39;')}</h1>" in page
    assert (out / PLOT).stat().st_size > 1000


@pytest.mark.long
def test_what_is_told_of_a_route_is_what_evaluate_finds(tmp_path, here):
    """`adapt` proves the same map on the same identities, and fits nothing again."""
    out = tmp_path / "advice"
    named = simulated.written(tmp_path, simulated.gallery_to_move)
    here(command, *named, *USE, f"--out={out}")
    found = report_of(out)
    step = found["decision"]["next"][0]["command"]
    program, name, *arguments = shlex.split(" ".join(step))
    assert (program, name) == ("bct", "adapt")
    status, said, _ = here(adapt, *arguments)
    assert status == 0
    assert f"{out / 'moved'} is up to date" in said
    _, *arguments = found["decision"]["next"][1]["command"]
    adapter, place = out / "moved", out / "moved" / "report"
    assert arguments == [
        "--gallery='file(people.gallery)'",
        f"--adapter={adapter}",
        f"--report={place}",
    ]
    report = artefacts.read_result(place, "report", "report.json")
    (of_evaluate,) = report["protocols"].values()
    route = found["routes"]["moved gallery"]
    (test,) = route["tests"].values()
    assert test["metrics"] == pytest.approx(of_evaluate["new/moved"], abs=1e-6)
    for metric, interval in of_evaluate["routes"]["moved"]["interval"].items():
        assert test["interval"][metric] == pytest.approx(interval, abs=1e-6)
    assert route["verdict"] == report["routes"]["moved"]["verdict"]
    # The advice is still there, as it was.
    assert report_of(out) == found


def test_a_second_run_does_nothing_and_says_the_same(tmp_path, here):
    out = tmp_path / "advice"
    arguments = [*simulated.written(tmp_path, simulated.no_better), *USE, f"--out={out}"]
    _, first, _ = here(command, *arguments)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    status, second, told = here(command, *arguments)
    assert (status, second) == (0, first)
    assert f"{out} is up to date" in told
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_is_measured_by_a_list_is_not_fitted_on(tmp_path, here):
    out = tmp_path / "advice"
    named = simulated.written(tmp_path, simulated.queries_to_fuse)
    ids = np.array([f"item {row}" for row in range(len(simulated.LABELS))])
    some = simulated.LABELS < 80
    np.savez(tmp_path / "list.npz", ids=ids[some], labels=simulated.LABELS[some])
    protocol = f"--protocol=listed({tmp_path / 'list.npz'})"
    status, said, _ = here(command, *named, *USE, protocol, f"--out={out}")
    assert status == 0
    assert said.startswith("Fuse each adapted query")
    pairs = (simulated.PEOPLE - 80) * simulated.EACH
    assert f"{pairs} pairs to fit on" in said
    # `adapt` with the command that is named finds the same items, and fits nothing again.
    step = report_of(out)["decision"]["next"][0]["command"]
    _, *arguments = shlex.split(" ".join(step))[1:]
    status, said, _ = here(adapt, *arguments)
    assert status == 0
    assert f"{out / 'fused'} is up to date" in said


@pytest.mark.long
def test_costs_are_scaled_to_the_gallery_and_its_queries(
    tiny_encoder_path, data_root, tmp_path, here
):
    out = tmp_path / "advice"
    new, old = tiny_encoder_path(5), tiny_encoder_path(4)
    arguments = [
        f"--new={new}",
        f"--old={old}",
        f"--data={data_root / 'new'}",
        "--gallery_size=1e6",
        "--queries_per_day=3600",
        "--cost_per_gpu_hour=2",
        "--nodes=5",
        "--kind=procrustes",
        f"--out={out}",
    ]
    status, said, _ = here(command, *arguments)
    assert status == 0
    assert "money a day" in said
    costs = {name: route["costs"] for name, route in report_of(out)["routes"].items()}
    backfill, fused = costs["full backfill"], costs["fused: adapted + old"]
    # 5 numbers of 4 bytes for each of a million entries; an entry that stays costs nothing.
    assert backfill["extra_bytes"] == costs["moved gallery"]["extra_bytes"] == 20_000_000
    assert fused["extra_bytes"] == fused["gallery_hours"] == 0
    # Five machines embed 123 shards, and one applies a map.
    assert backfill["gallery_machines"] == 5
    assert " on 5 machines" in said
    assert backfill["money_once"] == pytest.approx(5 * 2 * backfill["gallery_hours"])
    moved = costs["moved gallery"]
    assert moved["gallery_machines"] == 1
    assert moved["money_once"] == pytest.approx(2 * moved["gallery_hours"])
    # 3,600 queries a day take as many hours as one takes seconds.
    assert fused["hours_a_day"] == pytest.approx(fused["query_seconds"])
    # Two networks take longer than either of them.
    alone = costs["keep the old encoder"]["query_seconds"]
    assert fused["query_seconds"] > costs["adapted queries"]["query_seconds"] > 0
    assert fused["query_seconds"] > alone > 0
    assert (out / "adapted" / "encoder.keras").is_file()


def test_names_are_escaped_on_the_page(tmp_path, here):
    folder = tmp_path / "<b>bold"
    folder.mkdir()
    named = simulated.written(folder, simulated.strong_old)
    out = tmp_path / "advice"
    status, _, _ = here(command, *named, *USE, f"--out={out}")
    assert status == 0
    page = (out / PAGE).read_text()
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """Small files: an old and a new encoder, one of other dimensions, one without labels."""
    folder = tmp_path_factory.mktemp("few")
    random = np.random.default_rng(0)
    ids = np.array([f"item {row}" for row in range(40)])
    labels = np.repeat(np.arange(10), 4)
    for name, dims in (("old", 4), ("new", 4), ("wide", 7)):
        embeddings = random.normal(size=(40, dims))
        np.savez(folder / f"{name}.npz", embeddings=embeddings, ids=ids, labels=labels)
        np.savez(folder / f"{name}_unlabelled.npz", embeddings=embeddings, ids=ids)
    np.savez(folder / "list.npz", ids=ids[:20])
    return folder


REFUSED = {
    "no gallery size": (
        "--old=old.npz --new=new.npz --queries_per_day=1",
        "--gallery_size is needed",
    ),
    "neither": ("--old=old.npz --new=new.npz", "--gallery_size, --queries_per_day are needed"),
    "an empty gallery": (
        "--old=old.npz --new=new.npz --gallery_size=0 --queries_per_day=1",
        "--gallery_size=0.0: an entry is the least",
    ),
    "fewer than no queries": (
        "--old=old.npz --new=new.npz --gallery_size=1 --queries_per_day=-1",
        "--queries_per_day=-1.0 has to be",
    ),
    "the same encoder twice": (
        "--old=old.npz --new=old.npz --gallery_size=1 --queries_per_day=1",
        "are the same encoder: there is no upgrade",
    ),
    "the new one as a trained one": (
        "--old=old.npz --new=new.npz --trained=new.npz --gallery_size=1 --queries_per_day=1",
        "--trained=new.npz is --new too",
    ),
    "a trained one of other dimensions": (
        "--old=old.npz --new=new.npz --trained=wide.npz --gallery_size=1 --queries_per_day=1",
        "--trained=wide.npz has 7 compatible dimensions and old.npz 4",
    ),
    "no labels": (
        "--old=old_unlabelled.npz --new=new_unlabelled.npz --gallery_size=1 --queries_per_day=1",
        "without labels it cannot be told whether the new encoder is any better",
    ),
    "a list without labels": (
        "--old=old.npz --new=new.npz --gallery_size=1 --queries_per_day=1 "
        "--protocol=listed(list.npz)",
        "listed(list.npz) has no labels",
    ),
    "nothing to measure by": (
        "--old=old.npz --new=new.npz --gallery_size=1 --queries_per_day=1 --protocol=none",
        "--protocol=none: an advice goes by what is measured",
    ),
    "a metric that is not measured": (
        "--old=old.npz --new=new.npz --gallery_size=1 --queries_per_day=1 --decide_by=beauty",
        "--decide_by=beauty is not measured",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_told_in_a_line_or_two(case, few, tmp_path, here, monkeypatch):
    monkeypatch.chdir(few)
    arguments, said = REFUSED[case]
    out = tmp_path / "advice"
    status, printed, errors = here(command, *arguments.split(), f"--out={out}")
    assert (status, printed) == (1, "")
    assert errors.startswith("error: ")
    assert said in errors
    assert len(errors.strip().splitlines()) <= 2
    assert not out.exists()


def test_what_an_advice_is_made_from_is_kept(tmp_path, here):
    """Another gallery is another advice: the first one is not overwritten."""
    out = tmp_path / "advice"
    named = simulated.written(tmp_path, simulated.no_better)
    here(command, *named, *USE, f"--out={out}")
    kept = json.loads((out / REPORT).read_text())
    status, _, errors = here(
        command,
        *named,
        "--gallery_size=1e3",
        "--queries_per_day=1",
        "--kind=linear",
        f"--out={out}",
    )
    assert status == 1
    assert "made from something else" in errors
    assert json.loads((out / REPORT).read_text()) == kept
