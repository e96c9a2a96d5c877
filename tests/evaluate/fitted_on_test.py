"""A report says which of its images an encoder was fitted on, where a manifest knows it."""

import shutil
from pathlib import Path

import pytest

from bct_keras import artefacts
from bct_keras.adapt.plan import Plan
from bct_keras.adapt.run import adapt
from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import RUN_KIND, AdaptedEncoder, load_adapter, load_encoder
from bct_keras.evaluate import fitted_on
from bct_keras.evaluate.run import evaluate


@pytest.fixture
def run(tmp_path, data_root, tiny_encoder_path) -> Path:
    """The folder of a run that was trained on the view `new`: 36 of all 72 images."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(tiny_encoder_path(4), folder / "encoder.keras")
    made_from = {"data": open_data_set(data_root / "new").fingerprint}
    artefacts.write_manifest(
        folder, RUN_KIND, made_from, encoder=artefacts.file_sha256(folder / "encoder.keras")
    )
    return folder


@pytest.mark.parametrize(("view", "images"), [("", 36), ("all", 36), ("new", 36), ("test", 0)])
def test_images_that_a_run_was_trained_on_are_counted(run, data_root, view, images):
    found = fitted_on.notes([load_encoder(run)], open_data_set(data_root / view), "retrieval(x)")
    if not images:
        assert found == []
        return
    (note,) = found
    assert note.startswith(f"warning: {run} was fitted on {images} of the ")


def test_of_a_file_without_its_folder_nothing_is_said(run, data_root, tmp_path):
    alone = shutil.copy(run / "encoder.keras", tmp_path / "alone.keras")
    assert fitted_on.notes([load_encoder(alone)], open_data_set(data_root), "retrieval(x)") == []
    assert fitted_on.notes([load_encoder(run)], None, "pairs(lfw.bin)") == []


def test_an_adapter_warns_in_the_report_wherever_it_stands(data_root, tmp_path, tiny_encoder_path):
    old = load_encoder(tiny_encoder_path(4))
    new = load_encoder(tiny_encoder_path(6))
    plan = Plan(data=str(data_root / "new"), kind="linear")
    adapt(new, old, plan, tmp_path / "map", protocols=["none"])
    found = evaluate(
        old, load_encoder(tmp_path / "map"), [f"retrieval({data_root})"], tmp_path / "report"
    )
    (result,) = found["protocols"].values()
    assert result["notes"][0].startswith(f"warning: {tmp_path / 'map'} was fitted on 36 of the 72")
    for place in ("map", "map/adapter.keras"):
        path = str(tmp_path / place)
        adapted = AdaptedEncoder(new, load_adapter(path), path)
        assert list(fitted_on.folders_of(adapted)) == [tmp_path / "map"]
