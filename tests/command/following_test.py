"""The commands that a run names at its end: each is one, and runs where the paths are known."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from command_lines import check

from bct_keras.adapt import plan as of_adapt
from bct_keras.artefacts import write_manifest
from bct_keras.benchmark import following as of_benchmark
from bct_keras.benchmark.cells import Cell
from bct_keras.benchmark.routes import parse_route
from bct_keras.encoders import ADAPTER_KIND
from bct_keras.evaluate import next_steps
from bct_keras.evaluate import outcome as of_evaluate
from bct_keras.explain import run as of_explain
from bct_keras.export import run as of_export
from bct_keras.export.checks import Exported
from bct_keras.gallery import following as of_gallery
from bct_keras.prepare import telling as of_prepare
from bct_keras.train import ways_on

GALLERY = "file(my people.gallery)"
IN = f"--gallery={shlex.quote(GALLERY)}"


def report(folder: Path, verdicts: dict[str, str], **given: str) -> str:
    """Writes what a gallery reads of a report; returns its folder."""
    facts = facts_of(verdicts, **given)
    (folder / "report.json").write_text(json.dumps(facts))
    return str(folder)


def facts_of(verdicts: dict[str, str], **given: str) -> dict:
    """Returns what a report says of these verdicts, by the options of the encoders."""
    routes = {}
    for name in verdicts:
        if name != "new":
            routes[name] = {"verdict": verdicts[name], "because": "few"}
    made_from = {f"--{name}": path for name, path in given.items()}
    return {
        "verdict": verdicts.get("new"),
        "because": "few",
        "routes": routes,
        "made_from": made_from,
        "protocols": {},
    }


@pytest.mark.parametrize(
    ("files", "old", "command"),
    [
        (
            ["saved_model", "tflite"],
            "old.keras",
            "bct evaluate --new=out/encoder.tflite --old=old.keras --protocol='retrieval(a b)'"
            " --out=reports/tflite",
        ),
        (
            ["saved_model"],
            "old.keras",
            "bct evaluate --new=out/saved_model --old=old.keras --protocol='retrieval(a b)'"
            " --out=reports/saved_model",
        ),
        (
            ["tflite_fp16"],
            None,
            "bct gallery add --gallery='file(people.gallery)' --data=DATA"
            " --encoder=out/encoder_fp16.tflite",
        ),
    ],
)
def test_after_an_export_comes_the_report_on_a_file(files, old, command):
    exported = Exported(dict.fromkeys(files, "written"), {}, None)
    outcome = of_export.outcome(exported, Path("out"), old, ["retrieval(a b)"])
    assert outcome.then == [command]
    check(command, command)


def test_nothing_comes_after_an_export_that_was_refused():
    assert not of_export.outcome(Exported({}, {"tflite": "bad"}, None), Path("out")).then


def test_after_an_explanation_comes_its_measure(tmp_path):
    found = {"shares": {"negative flips": 1.0}, "nearness": {}}
    found["nearness"] = {"same image": 0.5, "other identities": 0.25}
    outcome = of_explain.outcome(found, "new.keras", "old.keras", tmp_path, Path("look"))
    assert outcome.text.endswith("page: look/explain.html")
    (command,) = outcome.then
    assert command == (
        "bct evaluate --new=new.keras --old=old.keras --protocol='retrieval(DATA)'"
        " --out=reports/new-old"
    )
    check(command, command)


def test_after_entries_comes_a_search_by_their_encoder():
    assert of_gallery.after_adding(GALLERY, "data", "old.keras") == [
        f"bct gallery search {IN} --encoder=old.keras --image=photo.jpg"
    ]
    assert of_gallery.after_adding(GALLERY, None, "old.npz") == [
        f"bct gallery search {IN} --encoder=old.npz --id=ID"
    ]
    assert of_gallery.after_adding(GALLERY, "data") == [
        f"bct gallery search {IN} --encoder=ENCODER --image=photo.jpg"
    ]


def test_after_a_report_comes_a_search_by_the_encoder_that_it_lets_in(tmp_path):
    place = report(tmp_path, {"new": "compatible"}, new="runs/new/encoder.keras", old="old")
    search, backfill = of_gallery.after_adding(GALLERY, "data", "old", [place])
    assert search == f"bct gallery search {IN} --encoder=runs/new --image=photo.jpg"
    assert backfill == f"bct gallery backfill {IN} --encoder=runs/new --data=data"
    for command in (search, backfill):
        check(command, command)


def test_after_a_report_on_stored_embeddings_no_image_is_asked_for(tmp_path):
    place = report(tmp_path, {"new": "undecided"}, new="new.npz", old="old.npz")
    search, backfill = of_gallery.after_adding(GALLERY, None, None, [place])
    assert search == f"bct gallery search {IN} --encoder=new.npz --id=ID"
    assert backfill == f"bct gallery backfill {IN} --encoder=new.npz"


def test_after_a_report_that_lets_a_route_in_comes_that_route(tmp_path):
    verdicts = {"new": "not compatible", "adapted": "compatible", "moved": "compatible"}
    place = report(tmp_path, verdicts, new="new", old="old", adapted="adapted(new, a.keras)")
    search, _ = of_gallery.after_adding(GALLERY, "data", None, [place])
    assert "--encoder='adapted(new, a.keras)'" in search


def test_after_a_report_on_a_moved_gallery_comes_the_move(tmp_path):
    verdicts = {"new": "not compatible", "moved": "compatible"}
    moved = "adapted(old.keras, adapted/gallery/adapter.keras)"  # as `evaluate` writes it
    place = report(tmp_path, verdicts, new="new", old="old", moved=moved)
    (move,) = of_gallery.after_adding(GALLERY, "data", None, [place])
    assert move == f"bct gallery move {IN} --adapter=adapted/gallery --new=new"
    check(move, move)
    (search,) = of_gallery.after_adding(GALLERY, "data", None, [place], is_moved=True)
    assert search == f"bct gallery search {IN} --encoder=new --image=photo.jpg"


def test_a_search_is_by_an_image_of_the_data_set_where_it_is_known(tmp_path, data_root):
    facts = facts_of({"new": "compatible"}, new="new.tflite", old="old")
    facts["protocols"] = {f"retrieval({data_root / 'test'})": {}}
    (tmp_path / "report.json").write_text(json.dumps(facts))
    place = str(tmp_path)
    ident = "synthetic-seed0/000(08|09|10|11)/00[0-5]"  # one of those held out
    search, backfill = of_gallery.after_adding(GALLERY, None, None, [place])
    assert re.search(f"--encoder=new.tflite --data={data_root} --id={ident}$", search)
    assert backfill.endswith(f"--encoder=new.tflite --data={data_root}")
    for command in (search, backfill):
        check(command, command)
    (search,) = of_gallery.after_backfill(GALLERY, "new", is_beside=False, data=str(data_root))
    assert re.search(f"--data={data_root} --id={ident}$", search)


def test_where_the_verdict_is_not_asked_the_new_encoder_comes(tmp_path):
    place = report(tmp_path, {"new": "not compatible"}, new="new.tflite", old="old")
    search, _ = of_gallery.after_adding(GALLERY, "data", None, [place], max_loss=0.1)
    assert "--encoder=new.tflite" in search


def test_after_a_backfill_beside_comes_the_cut_over():
    (cut_over,) = of_gallery.after_backfill(GALLERY, "new", is_beside=True)
    assert cut_over == f"bct gallery cut-over {IN} --encoder=new"
    (search,) = of_gallery.after_backfill(GALLERY, "new", is_beside=False)
    assert search == f"bct gallery search {IN} --encoder=new --image=photo.jpg"
    search, undo = of_gallery.after_switch(GALLERY, None)
    assert undo == f"bct gallery restore {IN}"
    for command in (cut_over, search, undo, *of_gallery.info(GALLERY)):
        check(command, command)


CELL = Cell(
    scenario="open-class",
    old="weak",
    method="mixbct(mix_ratio=0.4)",
    seed=3,
    run=Path("out/runs/mixbct"),
    old_encoder=Path("out/runs/old"),
    data=Path("out/data/class/new"),
)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("adapted(l2, adapter=linear)", "--kind=linear --seed=3 --out=adapted/best"),
        ("fused(l2)", "--kind=none --fuse --seed=3 --out=adapted/best"),
        ("moved(l2)", "--direction=gallery --seed=3 --out=adapted/best"),
    ],
)
def test_after_a_benchmark_that_a_route_wins_comes_its_map(route, said):
    cell = replace(CELL, method="best")
    words = of_benchmark.taking_on(cell, parse_route("best", route, ["l2"]), "retrieval(test)")
    command = " ".join(words)
    assert command == (
        "bct adapt --new=out/runs/mixbct --old=out/runs/old --data=out/data/class/new " + said
    )
    check(command, command)


def test_after_a_benchmark_that_a_method_wins_comes_its_report():
    command = " ".join(of_benchmark.taking_on(CELL, None, "retrieval(test)"))
    assert command == (
        "bct evaluate --new=out/runs/mixbct --old=out/runs/old --protocol='retrieval(test)'"
        " --out=reports/mixbct_mix_ratio=0.4"
    )
    check(command, command)


def test_the_options_of_a_map_are_those_that_differ():
    plan = of_adapt.Plan(data="d", fuse=True, weigh_on=("a", "b"), pairs=9)
    assert plan.options() == {"data": "d", "fuse": True, "weigh_on": ["a", "b"], "pairs": "9"}


@pytest.mark.parametrize(("ending", "has_data"), [(".npz", False), (".keras", True)])
def test_advice_on_stored_embeddings_needs_no_images(ending, has_data):
    command = " ".join(next_steps.advice(f"old{ending}", f"new{ending}"))
    assert ("--data=DATA" in command) == has_data
    check(command, command)


@pytest.mark.parametrize(
    ("images", "identities", "views", "command"),
    [
        (480, 48, ["all", "test"], "adapt --new=NEW --old=OLD --data=data/all --out=adapted/mine"),
        (480, 48, ["all"], "adapt --new=NEW --old=OLD --data=data/all --out=adapted/mine"),
        (
            10_080,
            1_008,
            ["all", "new", "old", "test"],
            "train --flagfile=configs/gallerycontrast.flags --data=data/all --old=OLD --dims=DIMS"
            " --workdir=runs/mine",
        ),
        (
            10_080,
            1_008,
            [],
            "train --flagfile=configs/gallerycontrast.flags --data=data --old=OLD --dims=DIMS"
            " --workdir=runs/mine",
        ),
    ],
)
def test_after_a_data_set_comes_what_it_is_large_enough_for(images, identities, views, command):
    facts = {"out": Path("data"), "images": images, "identities": identities, "views": views}
    words = of_prepare.what_follows(facts)
    assert " ".join(words) == f"bct {command}"
    check(" ".join(words).replace("DIMS", "64"), "prepare")


def test_what_looks_worse_is_not_let_into_a_gallery(tmp_path):
    found = facts_of({"new": "undecided"}, new="new.keras", old="old.keras")
    found["identities_needed"] = 90
    surer, let_in = of_evaluate.outcome(found, tmp_path).then
    assert let_in == (
        "bct gallery add --gallery='file(people.gallery)' --data=DATA --encoder=old.keras "
        f"--report={tmp_path}"
    )
    assert of_evaluate.outcome(found | {"looks_worse": True}, tmp_path).then == [surer]
    for command in (surer, let_in):
        check(command, command)


def test_a_gallery_takes_the_whole_data_set_and_advice_what_may_be_fitted_on(data_root):
    found = facts_of({"new": "undecided"}, new="new.keras", old="old.keras")
    found["protocols"] = {f"retrieval({data_root / 'test'})": {}}
    for fitted_on in (str(data_root / "new"), None):
        (add,) = next_steps.next_steps(found, "report", fitted_on)
        assert f"--data={data_root}" in add.command
        worse = found | {"looks_worse": True}
        (advise,) = next_steps.next_steps(worse, "report", fitted_on)
        assert f"--data={data_root / 'all'}" in advise.command


def test_where_the_moved_gallery_alone_may_work_it_is_moved(tmp_path):
    verdicts = {"new": "not compatible", "moved": "undecided"}
    found = facts_of(verdicts, new="new", old="old", moved="adapted(old, adapted/gallery)")
    (move,) = of_evaluate.outcome(found, tmp_path).then
    assert move == (
        "bct gallery move --gallery='file(people.gallery)' --adapter=adapted/gallery --new=new "
        f"--report={tmp_path}"
    )
    check(move, move)


def test_after_an_adapter_that_does_not_fit_no_command_of_advice_names_it(tmp_path):
    write_manifest(tmp_path, ADAPTER_KIND, {})
    found = facts_of({"new": "not compatible"}, new=str(tmp_path), old="old")
    assert of_evaluate.outcome(found, tmp_path).then == []


def test_stored_old_embeddings_are_added_without_a_data_set(tmp_path):
    found = facts_of({"new": "compatible"}, new="new.npz", old="old.npz")
    (add,) = of_evaluate.outcome(found, tmp_path).then
    assert "--data" not in add


def test_what_may_help_is_not_what_was_done(tmp_path):
    write_manifest(tmp_path, "run", {})
    told = ways_on.after(str(tmp_path), 0.1, 7)
    assert f"let adapt fit a small map from {tmp_path}" in told
    assert "start_rate=1 " in told
    assert "epochs=40" in told
    write_manifest(tmp_path, ADAPTER_KIND, {})
    told = ways_on.after(str(tmp_path), 0.1, 7)
    assert f"take {tmp_path} as it is" in told
    assert "start_rate=0.01" in told
    assert "adapt fit" not in told
