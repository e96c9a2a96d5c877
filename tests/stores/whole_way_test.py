"""The whole way with everything in a store: the same bytes as on this machine's disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import forked
import keras
import numpy as np
import pytest
import tiny_backbones

from bct_keras import stores

pytestmark = pytest.mark.seconds(60)

FACES = "synthetic(identities=16, images=6, image_size=28)"
SPLIT = "class(old_share=0.3, test_share=0.25)"
TRAINING = (
    "--backbone=tiny_backbones:one_convolution",
    "--dims=8",
    "--batch_size=8",
    "--epochs=1",
    "--schedule=cosine",
    "--learning_rate=0.02",
    "--strategy=one",
    "--protocol=none",
    "--formats=none",
)


def run(folder: Path, command: str, *flags: str) -> str:
    done = forked.run("-m", f"bct_keras.{command}", *flags, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def go(folder: Path, root: str) -> None:
    """Goes the whole way with all artefacts below `root`."""
    run(folder, "prepare", f"--source={FACES}", f"--split={SPLIT}", f"--out={root}/data")
    old = ("--method=independent", f"--data={root}/data/old", f"--workdir={root}/old")
    run(folder, "train", *TRAINING, *old)
    run(
        folder,
        "embed",
        f"--encoder={root}/old",
        f"--data={root}/data/new",
        f"--out={root}/by-old",
    )
    new = ("--method=mixbct(mix_ratio=0.3)", f"--data={root}/data/new", f"--workdir={root}/new")
    run(folder, "train", *TRAINING, *new, f"--old={root}/by-old")
    protocol = f"--protocol=retrieval({root}/data/test)"
    both = (f"--old={root}/old", f"--new={root}/new")
    run(folder, "evaluate", *both, protocol, f"--out={root}/report")
    run(
        folder,
        "export",
        f"--encoder={root}/new",
        "--formats=tflite",
        f"--old={root}/old",
        protocol,
        "--allow_loss",
        f"--out={root}/exported",
    )


def files(root: Path) -> dict[str, bytes]:
    return {name: stores.here(root / name).read_bytes() for name in stores.names_in(root)}


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copy(tiny_backbones.__file__, tmp_path)
    return tmp_path


@pytest.mark.long
def test_everything_in_a_store_has_the_bytes_of_a_disk(bucket, folder):
    go(folder, "here")
    go(folder, str(bucket))
    expected, found = files(folder / "here"), files(bucket)

    def same(name: str) -> bool:
        tells_where = name.startswith("by-old/manifest.json")  # and its copy
        return name.startswith(("data/", "by-old/")) and not tells_where

    for name in filter(same, expected):
        assert found[name] == expected[name], name
    # A .keras file has the time in it, and a .tflite file the sha256 of that.
    for name in ("old", "new"):
        weights = []
        for root in (folder / "here", bucket):
            model: Any = keras.saving.load_model(stores.here(root / name / "encoder.keras"))
            weights.append(model.get_weights())
        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)
    # Names of files that are another's: events of TensorBoard have the time.
    assert {name for name in found if "/log/" not in name and "embeddings/" not in name} == {
        name
        for name in expected
        if "/log/" not in name and "embeddings/" not in name and "/." not in name
    }
    texts = [each["report/report.json"].decode() for each in (expected, found)]
    reports = [json.loads(text.replace(str(bucket), "here")) for text in texts]
    assert reports[0]["protocols"] == reports[1]["protocols"]
    # What was there is not made again.
    assert "is up to date" in run(
        folder, "prepare", f"--source={FACES}", f"--split={SPLIT}", f"--out={bucket}/data"
    )
    new = ("--method=mixbct(mix_ratio=0.3)", f"--data={bucket}/data/new", f"--workdir={bucket}/new")
    assert "is up to date" in run(folder, "train", *TRAINING, *new, f"--old={bucket}/by-old")
