"""Moves and searches galleries of stored embeddings, let in by reports of evaluate itself."""

from pathlib import Path

import numpy as np
import pytest

from bct_keras import adapters, artefacts
from bct_keras.adapt.plan import Plan
from bct_keras.adapt.run import adapt
from bct_keras.encoders import AdaptedEncoder, Encoder, load_adapter, load_encoder
from bct_keras.errors import InputError, options_as_flags
from bct_keras.evaluate.routes import Routes
from bct_keras.evaluate.run import evaluate
from bct_keras.gallery import run
from bct_keras.gallery.file import FileGallery

OLD_DIMS, NEW_DIMS, IDENTITIES, ITEMS = 6, 10, 60, 8

pytestmark = pytest.mark.seconds(15)


def stored(folder: Path, name: str, dims: int, noise: float, seed: int) -> Path:
    """Writes embeddings with ids and labels: the same items for each encoder."""
    labels = np.repeat(np.arange(IDENTITIES), ITEMS)
    identities = np.random.default_rng(0).standard_normal((IDENTITIES, 6))
    view = np.random.default_rng(seed).standard_normal((6, dims))
    draw = np.random.default_rng(seed + 1)
    items = identities[labels] + noise * draw.standard_normal((len(labels), 6))
    ids = [f"text {label}/{number % ITEMS}" for number, label in enumerate(labels)]
    path = folder / name
    np.savez(path, embeddings=(items @ view).astype(np.float32), ids=ids, labels=labels)
    return path


class Made:
    """The files of an upgrade: two encoders, adapters between them, a report, and a gallery."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.old = stored(folder, "old.npz", OLD_DIMS, 0.5, 1)
        self.new = stored(folder, "new.npz", NEW_DIMS, 0.1, 3)
        old, new = load_encoder(self.old), load_encoder(self.new)
        for direction in ("query", "gallery"):
            plan = Plan(direction=direction, kind="linear", pairs=200)
            adapt(new, old, plan, folder / direction, protocols=["none"])
        self.two_spaces = (
            f"two_spaces({self.new}, adapted({self.new}, {folder}/query/adapter.keras))"
        )
        evaluate(
            old,
            load_encoder(self.two_spaces),
            [f"listed({self.old})"],
            folder / "report",
            routes=Routes(moved=self.moved(old)),
        )

    def moved(self, old: Encoder) -> Encoder:
        path = self.folder / "gallery"
        return AdaptedEncoder(old, load_adapter(path), str(path))

    def gallery(self, path: Path) -> str:
        """Makes a gallery of the first items of each identity, by the old encoder."""
        with np.load(self.old) as whole:
            first = np.arange(IDENTITIES * ITEMS) % ITEMS < 4
            part = {name: whole[name][first] for name in whole.files}
        np.savez(path.parent / "part.npz", **part)
        spec = f"file({path})"
        added = run.add(spec, encoder=path.parent / "part.npz", made_by=self.old)
        assert added == IDENTITIES * 4
        return spec


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


QUERIES = [f"text {label}/{ITEMS - 1}" for label in range(IDENTITIES)]


def right(found) -> float:
    """Returns the share of queries whose best match is of their label."""
    hits = [each.matches[0].label == each.photo.split()[1].split("/")[0] for each in found]
    return float(np.mean(hits))


def test_stored_embeddings_are_added_searched_moved_restored_and_embedded_anew(made, tmp_path):
    spec = made.gallery(tmp_path / "texts.gallery")
    said: list[str] = []
    by_old = right(run.search(spec, made.old, ids=QUERIES))
    with pytest.raises(InputError, match="not known to be compatible"):
        list(run.search(spec, made.two_spaces, ids=QUERIES))

    # The report lets in the new queries, by their compatible embedding, and the moved gallery.
    run.add(spec, reports=[made.folder / "report"], say=said.append)
    assert len(said) == 2
    adapted = list(run.search(spec, made.two_spaces, ids=QUERIES))
    assert right(adapted) > by_old
    assert "false accepts" in str(adapted[0])

    assert run.move(spec, made.folder / "gallery", new=made.two_spaces, say=said.append) == 240
    assert "240 entries moved to adapted(" in said[-1]
    moved = list(run.search(spec, made.two_spaces, ids=QUERIES))
    assert right(moved) > by_old
    assert right(run.search(spec, made.old, ids=QUERIES)) == by_old  # by the originals
    assert run.move(spec, made.folder / "gallery") == 0

    assert run.restore(spec) == 240
    again = list(run.search(spec, made.two_spaces, ids=QUERIES))
    assert [each.matches for each in again] == [each.matches for each in adapted]

    # Half of it is embedded anew, as half of the embeddings are there.
    with np.load(made.new) as whole:
        half = {name: whole[name][: IDENTITIES * ITEMS // 2] for name in whole.files}
    np.savez(tmp_path / "half.npz", **half)
    with pytest.raises(InputError, match=r"120 entries have no embedding in .*half\.npz"):
        run.backfill(
            spec, tmp_path / "half.npz", order="farthest", made_by=made.two_spaces, say=said.append
        )
    assert "120 entries embedded anew by two_spaces(" in said[-1]
    assert {encoder.dims for encoder in run.info(spec).entries} == {OLD_DIMS, NEW_DIMS}
    mixed = list(run.search(spec, made.two_spaces, ids=QUERIES, top=240))
    assert right(mixed) >= right(adapted)
    for each in mixed:
        rates = [match.rate or 0.0 for match in each.matches]
        assert len({match.id for match in each.matches}) == 240
        assert rates == sorted(rates)

    # The old half is moved; then nothing is left of the old encoder.
    assert run.move(spec, made.folder / "gallery" / "adapter.keras") == 120
    assert right(run.search(spec, made.two_spaces, ids=QUERIES)) >= right(mixed) - 0.05
    assert run.forget_originals(spec).entries == 120
    with pytest.raises(InputError, match="were forgotten"):
        run.restore(spec)
    assert {encoder.dims for encoder in run.info(spec).entries} == {NEW_DIMS}


def refused(call) -> str:
    with pytest.raises(InputError) as error, options_as_flags():
        call()
    text = str(error.value)
    assert len(text.splitlines()) <= 2
    return text


def test_an_adapter_that_is_not_for_this_gallery_is_refused_in_a_line(made, tmp_path):
    spec = made.gallery(tmp_path / "texts.gallery")
    before = (tmp_path / "texts.gallery").read_bytes()
    folder = made.folder

    text = refused(lambda: run.move(spec, folder / "query"))
    assert "was fitted for queries, new -> old" in text
    assert "adapt --direction=gallery" in text

    text = refused(lambda: run.move(spec, folder / "gallery"))
    assert "no report says which queries fit entries of adapted(" in text
    assert "evaluate --old=OLD --new=NEW --moved=ADAPTER" in text

    text = refused(lambda: run.move(spec, folder / "gallery", new=made.old))
    assert "gives 6 dimensions, and moved entries have 10" in text
    text = refused(lambda: run.move(spec, folder / "gallery", new=made.new))
    assert f"no report says that queries of {made.new} fit entries of adapted(" in text

    another = tmp_path / "another"
    draw = np.random.default_rng(0)
    adapter = adapters.fit("linear", draw.standard_normal((50, 7)), draw.standard_normal((50, 10)))
    another.mkdir()
    adapter.save(another / "adapter.keras")
    text = refused(lambda: run.move(spec, another))
    assert "takes embeddings of 7 dimensions, and" in text
    assert "holds 6 by" in text

    made_from = {"direction": "gallery", "source": "9" * 64, "target": "8" * 64}
    sha256 = artefacts.file_sha256(another / "adapter.keras")
    artefacts.write_manifest(another, "adapter", made_from, adapter=sha256)
    text = refused(lambda: run.move(spec, another))
    assert "was fitted for another encoder (999999999999) than those of" in text
    artefacts.write_manifest(another, "adapter", made_from, adapter="0" * 64)
    text = refused(lambda: run.move(spec, another))
    assert "is not the adapter that" in text

    assert "no such adapter" in refused(lambda: run.move(spec, tmp_path / "nowhere"))
    assert "no such gallery" in refused(lambda: run.move("file(nowhere)", folder / "gallery"))
    assert (tmp_path / "texts.gallery").read_bytes() == before


def test_stored_embeddings_that_do_not_fit_are_refused_in_a_line(made, tmp_path):
    spec = made.gallery(tmp_path / "texts.gallery")
    text = refused(lambda: list(run.search(spec, made.old, ids=["nobody"])))
    assert "has no embedding for nobody" in text
    assert "--image is needed, or --id" in refused(lambda: list(run.search(spec, made.old)))
    text = refused(lambda: run.add(spec, encoder=made.old, made_by=made.new))
    assert "has 6 dimensions and" in text
    assert "it has not made them" in text
    run.add(spec, reports=[made.folder / "report"])
    with FileGallery(str(tmp_path / "texts.gallery")) as gallery:
        assert len(gallery.describe().compatible) == 3
    np.savez(tmp_path / "others.npz", embeddings=np.ones((2, NEW_DIMS)), ids=["a", "b"])
    text = refused(lambda: run.backfill(spec, tmp_path / "others.npz", made_by=made.two_spaces))
    assert "none of the 240 entries to embed anew" in text


def test_an_item_without_a_label_is_its_own(made, tmp_path):
    np.savez(tmp_path / "items.npz", embeddings=np.eye(3), ids=["a", "b", "c"])
    spec = f"file({tmp_path}/items.gallery)"
    assert run.add(spec, encoder=tmp_path / "items.npz") == 3
    (found,) = run.search(spec, tmp_path / "items.npz", ids=["b"], top=1)
    assert [(match.id, match.label) for match in found.matches] == [("b", "b")]
