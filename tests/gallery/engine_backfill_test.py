"""A backfill by embeddings that `embed` has kept, or that an engine makes first."""

from pathlib import Path

import numpy as np
import pytest

from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.engines import Local
from bct_keras.errors import InputError
from bct_keras.evaluate.run import evaluate
from bct_keras.gallery import embedded_items, run
from bct_keras.gallery.file import FileGallery
from bct_keras.prepare import writing
from bct_keras.prepare.run import prepare
from bct_keras.untrusted import arrays


@pytest.fixture(scope="module")
def made(tiny_encoder_path, tmp_path_factory):
    """An old and a new encoder that fit, a data set, and embeddings by both."""
    folder = tmp_path_factory.mktemp("made")
    prepare("synthetic(identities=8, images=4, image_size=28)", "none", folder / "data")
    old = load_encoder(tiny_encoder_path(8))
    model = old.model  # pyright: ignore[reportAttributeAccessIssue]
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1.01 + 0.01)
    model.save(folder / "new.keras")
    old = load_encoder(old.path)
    new = load_encoder(folder / "new.keras")
    evaluate(old, new, [f"retrieval({folder / 'data'})"], folder / "report")
    data = open_data_set(folder / "data")
    embed(old, data, folder / "by-old")
    embed(new, data, folder / "by-new")
    return folder


def gallery_of_old(made, name: str) -> str:
    gallery = f"file({made / name}.gallery)"
    run.add(
        gallery,
        data=made / "data",
        embeddings=made / "by-old",
        reports=[made / "report"],
        max_loss=1.0,
    )
    return gallery


def vectors(made, name: str) -> np.ndarray:
    with FileGallery(str(made / f"{name}.gallery")) as opened:
        opened.refresh()
        ids = sorted(opened.entries_of_others("nobody")[0])
        (group,) = opened.embedded(ids)  # all by one encoder
        return group.embeddings[np.argsort(group.positions)]


def test_a_backfill_by_kept_embeddings_and_by_an_engine_is_the_same(made):
    told: list[str] = []
    run.backfill(gallery_of_old(made, "a"), made / "new.keras", made / "data")
    run.backfill(
        gallery_of_old(made, "b"),
        made / "new.keras",
        made / "data",
        embeddings=made / "by-new",
        say=told.append,
    )
    assert "32 entries embedded anew by" in told[-1]
    run.backfill(gallery_of_old(made, "c"), made / "new.keras", made / "data", engine=Local(1))
    expected = vectors(made, "a")
    assert len(expected) == 32
    for name in ("b", "c"):
        np.testing.assert_allclose(vectors(made, name), expected, atol=1e-6)
    (kept,) = made.glob("data-by-*")
    assert (kept / "manifest.json").is_file()


def test_few_files_are_open_at_a_time(made, monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 2)
    monkeypatch.setattr(embedded_items, "OPEN_FILES", 3)
    monkeypatch.setattr(arrays, "SMALL", 0)  # so that these small files stay open too
    prepare("synthetic(identities=8, images=4, image_size=28)", "none", tmp_path / "data")
    data = open_data_set(tmp_path / "data")
    encoder = load_encoder(made / "new.keras")
    embed(encoder, data, tmp_path / "by")
    items = embedded_items.EmbeddedItems(tmp_path / "by", data, encoder)
    ids = list(items.place)
    assert len(data.shards) == 16
    assert len(items.embeddings_of(ids)) == len(ids) == 32
    mapped = Path("/proc/self/maps").read_text().splitlines()
    of_embeddings = [each for each in mapped if str(tmp_path / "by") in each]
    assert len(of_embeddings) == 3


def test_embeddings_of_another_encoder_are_refused(made):
    gallery = gallery_of_old(made, "d")
    with pytest.raises(InputError, match="holds embeddings of another encoder than"):
        run.backfill(gallery, made / "new.keras", made / "data", embeddings=made / "by-old")
    with pytest.raises(InputError, match="engine goes with data"):
        run.backfill(gallery, made / "new.keras", engine=Local(1))
