"""The synthetic identities are hard enough that encoders differ, and not so hard that none can be
trained.
"""

from pathlib import Path

import forked
import pytest

from bct_keras import specs
from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import load_encoder
from bct_keras.evaluate.run import evaluate
from bct_keras.prepare.run import prepare

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_an_old_encoder_lands_in_the_middle_on_identities_that_it_never_saw(tmp_path):
    # 400 identities to train on, 0.3 * 400 = 120 of them for the old encoder, and 100 that no
    # encoder sees
    source, split = (
        "synthetic(identities=500, images=20, image_size=32)",
        "class(old_share=0.3, test_share=0.2)",
    )
    prepare(source, split, tmp_path / "data")
    old, test = (open_data_set(tmp_path / "data" / view) for view in ("old", "test"))
    assert (old.classes, test.classes, test.first_identity) == (120, 100, 400)
    # As configs/old.flags trains it, but as wide and as long as one that was not made weak on
    # purpose: measured 0.270.
    arguments = (
        "--flagfile=configs/old.flags",
        "--backbone=iresnet_small(width=16)",
        "--epochs=10",
        f"--data={old.folder}",
        f"--workdir={tmp_path / 'old'}",
    )
    done = forked.run("-m", "bct_keras.train", *arguments, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    protocol = f"retrieval({specs.quoted(str(test.folder))})"
    found = evaluate(load_encoder(tmp_path / "old"), None, [protocol], tmp_path / "report")
    assert 0.2 < found["protocols"][protocol]["old/old"]["TAR@FAR=1e-3"] < 0.7
