"""A benchmark of four trainings, one of which fails."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tiny_backbones
import tiny_benchmarks
from tiny_benchmarks import run

from bct_keras import specs
from bct_keras.benchmark import __main__ as benchmark
from bct_keras.encoders import load_encoder
from bct_keras.evaluate.run import evaluate

# 12 identities: 3 for the test, 3 for the old encoder, 6 for the new one. unibct has no epoch 5 to
# refresh anything in.
FLAGS = f"""{tiny_benchmarks.FLAGS}
--source=synthetic(identities=12, images=6, image_size=28)
--split=class(old_share=0.3, test_share=0.25)
--dims=8
--scenario=open-class
--old=weak: --head=softmax --dims=6
--method=mixbct(mix_ratio=0.4)
--method=too-late: unibct(refresh_epochs=(5,))
"""
METHODS = ["independent", "mixbct(mix_ratio=0.4)"]

pytestmark = [pytest.mark.long, pytest.mark.seconds(13)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    shutil.copy(tiny_backbones.__file__, folder)
    (folder / "benchmark.flags").write_text(FLAGS.strip() + "\n")
    return folder


@pytest.fixture(scope="module")
def done(folder) -> subprocess.CompletedProcess:
    return run(folder)


@pytest.fixture(scope="module")
def found(folder, done) -> dict:
    return json.loads((folder / "out/report/report.json").read_text())


def test_a_cell_that_fails_is_named_and_the_others_go_on(folder, done, found):
    assert done.returncode == 1, done.stdout + done.stderr
    (error,) = done.stderr.splitlines()[-1:]
    name = "open-class, old encoder weak, too-late, seed 3"
    assert error == f"error: 1 of 3 cells failed, the report names them: {name}"
    assert list(found["failed"]) == [name]
    assert found["failed"][name].startswith(
        "unibct would first refresh its prototypes at epoch 5, and the training has 1 epoch(s)"
    )
    assert [row["method"] for row in found["cells"]] == METHODS
    for page in ("report.md", "report.html"):
        assert name in (folder / "out/report" / page).read_text()


def test_every_training_is_done_once(folder, done):
    runs = [path.parent for path in (folder / "out/runs").rglob("encoder.keras")]
    assert sorted(path.parent.relative_to(folder / "out/runs").as_posix() for path in runs) == [
        "old/class",
        "open-class",
        "open-class/weak",
    ]
    assert "3 cells, 4 trainings, of which 4 are missing" in done.stdout
    *_, place, then = done.stdout.splitlines()
    assert place == "report: out/report/report.html"
    assert then.startswith("next: bct evaluate --new=out/runs/open-class/")
    assert not list(folder.rglob("*.partial"))


def test_the_numbers_are_those_of_evaluate(folder, found, tmp_path):
    """One cell is measured as the command does it."""
    (cell,) = [row for row in found["cells"] if row["method"] == METHODS[1]]
    places = ("old/class/weak*", "open-class/weak/mixbct*")
    old, new = (load_encoder(next((folder / "out/runs").glob(place))) for place in places)
    protocol = f"retrieval({specs.quoted(str(folder / 'out/data/class/test'))})"
    (result,) = evaluate(old, new, [protocol], tmp_path / "report")["protocols"].values()
    for metric, row in cell["metrics"].items():
        for name, test in {"self": "new/new", "cross": "new/old", "old": "old/old"}.items():
            assert row[name]["values"] == [result[test][metric]]
        assert row["gain"]["mean"] == pytest.approx(result["gain"][metric])
        assert cell["above_old"][metric] == int(result["above_old"][metric])
    for kind in ("negative", "positive"):
        assert cell["flips"][kind]["mean"] == result["flips"][kind]
    assert cell["seconds_per_step"]["mean"] > 0


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--seed=1", "--seed is for one training; a benchmark takes --seeds"),
        (
            "--scenario=open",
            "unknown scenario 'open'; known: open-class, open-data, extended-class, extended-data",
        ),
        ("--seeds=0,x", "--seeds=x: whole numbers are needed, as in --seeds=0,1,2"),
        ("--method=mixbct(ratio=1)", "unknown argument 'ratio' in 'mixbct(ratio=1)'"),
        ("--method=b: l2 --epoch=3", "Unknown command line flag 'epoch'"),
        (
            "--method=mixbct(mix_ratio=0.4)",
            "--method has two entries called 'mixbct(mix_ratio=0.4)'",
        ),
        ("--old=lost: nowhere.keras", "nowhere.keras: no such encoder"),
        ("--old=--head=softmax", "'--head=softmax' has no name"),
    ],
)
def test_a_typo_is_told_before_any_training(here, folder, tmp_path, monkeypatch, flag, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmark.flags").write_text((folder / "benchmark.flags").read_text())
    status, _, errors = here(benchmark, "--flagfile=benchmark.flags", flag)
    assert status == 1
    assert said in errors
    assert len(errors.splitlines()) <= 2
    assert not (tmp_path / "out/runs").exists()


class Balance(HTMLParser):
    """The tags that are open."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_has_every_table(folder, found):
    page = (folder / "out/report/report.html").read_text()
    balance = Balance()
    balance.feed(page)
    balance.close()
    assert balance.open == []
    assert page.count("<svg") == 1
    assert (folder / "out/report/open-class_weak.png").stat().st_size > 0
    assert page.count("<table") == len(
        re.findall("^## ", (folder / "out/report/report.md").read_text(), re.MULTILINE)
    )
    assert not re.search(r'(src|href)="(?!#|data:)', page)


def test_each_table_of_the_markdown_has_as_many_cells_in_every_row(folder, found):
    tables = re.findall(
        r"(?:^\|.*\|\n)+", (folder / "out/report/report.md").read_text(), re.MULTILINE
    )
    assert len(tables) >= 4  # ranking, cell, differences, failed
    for table in tables:
        first, rule, *rows = table.splitlines()
        assert re.fullmatch(r"\| ---( \| ---:)+ \|", rule)
        assert rows
        assert {row.count(" | ") for row in rows} == {first.count(" | ")} == {rule.count(" | ")}


def test_only_what_was_removed_is_done_again(folder, found):
    (run_folder,) = (folder / "out/runs/open-class/weak").glob("mixbct*")
    encoders = list((folder / "out/runs").rglob("encoder.keras"))
    before = {path: path.stat().st_mtime_ns for path in encoders}
    shutil.rmtree(run_folder)
    again = run(folder)
    after = {path: path.stat().st_mtime_ns for path in (folder / "out/runs").rglob("encoder.keras")}
    assert after.keys() == before.keys()
    assert {path.parent for path in before if after[path] != before[path]} == {run_folder}
    assert "of which 2 are missing" in again.stdout  # this one and the one that fails
    assert (
        json.loads((folder / "out/report/report.json").read_text())["cells"][0] == found["cells"][0]
    )
