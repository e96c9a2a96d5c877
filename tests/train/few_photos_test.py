"""480 photos of 48 identities: what `train` says of them, and a way on that works."""

import json
from pathlib import Path

import forked
import pytest

from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED
from bct_keras.prepare.sources.synthetic import Synthetic

pytestmark = [pytest.mark.long, pytest.mark.seconds(120)]

ROOT = Path(__file__).parents[2]
TRAINED = (
    "--batch_size=64",
    "--dims=64",
    "--schedule=cosine",
    "--learning_rate=0.01",
    "--optimizer=adamw(weight_decay=0.2)",
)
ALONE = (*TRAINED, "--method=independent", "--protocol=none", "--formats=none")
ON_PHOTOS = ("--data=data/mine/all", "--old=runs/old")


def run(folder: Path, command: str, *arguments: str) -> str:
    done = forked.run("-m", f"bct_keras.{command}", *arguments, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """An old and a better encoder that were trained on other identities, and photos."""
    folder = tmp_path_factory.mktemp("few")
    photos = Synthetic(identities=48, images=10, image_size=32, seed=7)
    for position, label in enumerate(photos.labels.tolist()):
        path = folder / "photos" / photos.identities[label] / f"{position % 10}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photos.read(position).image)
    others = "synthetic(identities=600, images=8, image_size=32)"
    run(
        folder, "prepare", f"--source={others}", "--split=class(old_share=0.3)", "--out=data/others"
    )
    mine = "folder(photos, image_size=32)"
    run(folder, "prepare", f"--source={mine}", "--split=class(test_share=0.25)", "--out=data/mine")
    for name, width, head, epochs in (
        ("old", 8, "softmax", 5),
        ("new", 16, "arcface(margin=0.5, scale=16)", 7),
    ):
        network = (f"--backbone=iresnet_small(width={width})", f"--head={head}")
        place = (f"--data=data/others/{name}", f"--workdir=runs/{name}", f"--epochs={epochs}")
        run(folder, "train", *ALONE, *network, *place)
    return folder


def test_an_adapted_encoder_is_trained_on_and_stays_compatible(workplace):
    run(workplace, "adapt", "--new=runs/new", *ON_PHOTOS, "--out=adapted", "--protocol=none")
    said = run(
        workplace,
        "train",
        *TRAINED,
        *ON_PHOTOS,
        "--start=adapted",
        "--learning_rate=0.001",
        "--method=l2(weight=10)",
        "--head=arcface(margin=0.3, scale=16)",
        "--epochs=6",
        "--frozen_epochs=1",
        "--formats=none",
        "--workdir=runs/mine",
    )
    assert "; it starts from adapted: its output embedding_compatible" in said
    report = json.loads((workplace / "runs/mine/report/report.json").read_text())
    assert report["verdict"] in (COMPATIBLE, UNDECIDED)


def test_the_papers_batches_are_refused_with_a_way_on(workplace):
    arguments = (
        f"--flagfile={ROOT}/configs/ms1mv3/mixbct.flags",
        *ON_PHOTOS,
        "--batch_size=1024",
        "--dims=64",
        "--workdir=runs/papers",
    )
    for dry_run in ((), ("--dry_run",)):
        done = forked.run("-m", "bct_keras.train", *arguments, *dry_run, cwd=workplace, timeout=900)
        assert done.returncode == 1
        told = done.stdout + done.stderr
        assert "360 images of 36 identities are too few to train a network from random" in told
        assert "give --start=NEW, an encoder that was trained on other images" in told
        assert "is more than the 360 images" in told
