import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import forked
import keras
import numpy as np
import pytest

from bct_keras import specs
from bct_keras.backbones.iresnet import iresnet_small
from bct_keras.data.dataset import open_data_set
from bct_keras.evaluate import held_out
from bct_keras.evaluate.protocols import PROTOCOLS

pytestmark = pytest.mark.seconds(32)

EPOCHS = 20  # of a tenth of a second each

# 12 identities: 3 for the test, 0.3 * 9 = 3 for the old encoder (18 images), 6 for the new one (36
# images)
BASE_FLAGS = f"""
--source=synthetic(identities=12, images=6, image_size=28)
--split=class(old_share=0.3, test_share=0.25)
--prepared=data
--backbone=iresnet_small(width=4, dropout=0.2)
--dims=8
--batch_size=8
--epochs={EPOCHS}
--schedule=cosine
--learning_rate=0.02
--allow_loss
--formats=saved_model,tflite
"""
NEW_FLAGS = """
--flagfile=base.flags
--method=mixbct(mix_ratio=0.3)
--head=arcface(margin=0.3, scale=16)
--old_flagfile=old.flags
--old_workdir=runs/old
"""
OLD_FLAGS = """
--flagfile=base.flags
--method=independent
--head=softmax
--protocol=none
--formats=none
"""


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    return forked.run("-m", "bct_keras.train", *flags, cwd=folder)


def trained(folder: Path, *flags: str) -> str:
    done = run(folder, "--flagfile=new.flags", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    for name, text in {"base": BASE_FLAGS, "new": NEW_FLAGS, "old": OLD_FLAGS}.items():
        (folder / f"{name}.flags").write_text(text.strip() + "\n")
    return folder


@pytest.fixture(scope="module")
def output(folder) -> str:
    """What the command says that makes everything."""
    return trained(folder, "--workdir=runs/new")


def table_of(output: str) -> list[str]:
    lines = output.splitlines()
    (end,) = [number for number, line in enumerate(lines) if line.startswith("report: ")]
    return lines[lines.index("retrieval(data/test)") : end + 1]  # what may follow is a way on


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


def weights_of(run: Path) -> list[np.ndarray]:
    model: Any = keras.saving.load_model(run / "encoder.keras")
    return model.get_weights()


def losses_of(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def kind_of(artefact: Path) -> str:
    return json.loads((artefact / "manifest.json").read_text())["kind"]


def test_one_command_makes_everything(folder, output):
    by_old = folder.glob("data/new-by-*")
    (embedded,) = [place for place in by_old if "-credible-" not in place.name]
    kinds = {
        "data": "data set",
        "data/new": "data set",
        "data/test": "data set",
        str(embedded.relative_to(folder)): "embeddings",
        "runs/old": "run",
        "runs/new": "run",
        "runs/new/report": "report",
        "runs/new/exported": "export",
    }
    assert {name: kind_of(folder / name) for name in kinds} == kinds
    for name in ("encoder.keras", "flags.txt", "report/report.html", "exported/encoder.tflite"):
        assert (folder / "runs/new" / name).stat().st_size > 0
    assert len(losses_of(folder / "runs/new")) == EPOCHS
    assert not list(folder.rglob("*partial*"))
    assert "training runs/new: 36 images of 6 identities, 4 steps an epoch, 1 replica(s)" in output


def test_the_table_has_the_three_tests_and_the_verdict(folder, output):
    _, columns, *rows, verdict, place = table_of(output)
    # These identities are too few to tell, so that the new queries may search, unless it looks
    # worse, which differs by processor.
    then = output.splitlines()[-1]
    report = json.loads((folder / "runs/new/report/report.json").read_text())
    if report.get("looks_worse"):
        assert output.splitlines()[-2].startswith("a way on: ")
    else:
        assert then.startswith("next: bct gallery add --gallery='file(people.gallery)' ")
        assert then.endswith(" --data=data --encoder=runs/old --report=runs/new/report")
    (end,) = [number for number, row in enumerate(rows) if row.startswith("  flips: ")]
    flips, rows = rows[end], rows[:end]  # below it stand notes
    named = [
        "metric",
        "old/old",
        "new/old",
        "new/new",
        "gain",
        "95 % interval",
        "word",
        "above old",
    ]
    assert re.split("  +", columns.strip()) == named
    assert re.match("  flips: .*% negative, .*% positive", flips)
    (result,) = json.loads((folder / "runs/new/report/report.json").read_text())[
        "protocols"
    ].values()
    metrics = list(result["old/old"])
    assert [row.split()[0] for row in rows] == metrics
    for metric, row in zip(metrics, rows, strict=True):
        assert row.split()[1:4] == [
            f"{result[test][metric]:.4f}" for test in ("old/old", "new/old", "new/new")
        ]
    assert re.fullmatch(r"verdict: (not compatible|compatible|undecided): .*", verdict)
    assert place == "report: runs/new/report/report.html"


def test_the_encoder_is_the_backbone_alone(folder, output):
    backbone = iresnet_small(image_size=28, dims=8, width=4)
    shapes = [weights.shape for weights in weights_of(folder / "runs/new")]
    assert shapes == [weights.shape for weights in backbone.get_weights()]


def test_a_second_call_does_nothing_again(folder, output):
    before = files_of(folder)
    again = trained(folder, "--workdir=runs/new")
    assert files_of(folder) == before
    assert table_of(again) == table_of(output)
    assert "runs/old is up to date" in again
    assert "runs/new is up to date" in again


@pytest.mark.long
def test_flags_txt_runs_it_again(folder, output):
    assert table_of(run(folder, "--flagfile=runs/new/flags.txt").stdout) == table_of(output)


@pytest.mark.long
def test_two_replicas(folder, output):
    flags = (
        "--workdir=runs/replicas",
        "--replicas=2",
        "--formats=none",
        "--backbone=iresnet_small(width=4)",
    )
    assert "4 steps an epoch, 2 replica(s)" in trained(folder, *flags)
    assert kind_of(folder / "runs/replicas") == "run"
    losses = losses_of(folder / "runs/replicas")
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--old=runs/old", "--dims=4"),
            r"runs/old has embeddings of 8 dimensions .* train with --dims=8",
        ),
        (("--batch_size=64", "--old=runs/old"), r"--batch_size=64 is more than the 36 images"),
        ((), r"--method=mixbct\(mix_ratio=0.3\) needs old embeddings: give --old"),
        (
            ("--data=data",),
            r"data holds the test's identities too, .* train on data/all, or on data/new",
        ),
    ],
    ids=["dims", "batch_size", "no old encoder", "test identities"],
)
def test_what_cannot_be_trained_is_refused_in_two_lines(folder, output, flags, said):
    before = files_of(folder)
    done = run(folder, "--flagfile=new.flags", "--data=data/new", "--workdir=runs/refused", *flags)
    assert done.returncode == 1
    line, *more = done.stderr.splitlines()
    assert re.match(f"error: .*{said}", line)
    assert len(more) <= 1  # what to do
    assert files_of(folder).keys() == before.keys()


def test_the_test_view_is_found_whatever_the_folder_is_called(data_root, tmp_path):
    copy = Path(shutil.copytree(data_root, tmp_path / "it's (mine), 2"))
    (spec,) = held_out.test_protocol(open_data_set(copy / "new"))
    assert specs.build(PROTOCOLS, spec).data.folder == copy / "test"
