from pathlib import Path

import numpy as np
import pytest

from bct_keras.data.dataset import ids_of, open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.metrics.verification import Embedded
from bct_keras.prepare.run import prepare


class CornerColours(Encoder):
    """Embeds by the image's upper left 4 x 4 pixels.

    They are different for any two images, and known without a model.
    """

    def __init__(self):
        super().__init__(Path("corner"), image_size=28, dims=48)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return images[:, :4, :4].reshape(len(images), -1).astype(np.float32)


def prepared(folder: Path, identities: int, images: int, seed: int = 0) -> str:
    prepare(
        f"synthetic(identities={identities}, images={images}, image_size=28)", "none", folder, seed
    )
    return str(folder)


def by_id(folder: str | Path) -> dict[str, tuple[bytes, int]]:
    """Returns the embedding and label of every image."""
    found = {}
    for batch in open_data_set(folder).batches(64):
        embeddings = normalised(CornerColours().embed(batch["image"].numpy()))
        rows = zip(ids_of(batch), embeddings, batch["label"].numpy(), strict=True)
        found |= {name: (embedding.tobytes(), int(label)) for name, embedding, label in rows}
    return found


def rows_of(embedded: Embedded) -> list[tuple[bytes, int]]:
    pairs = zip(embedded.embeddings, embedded.labels, strict=True)
    return [(embedding.tobytes(), int(label)) for embedding, label in pairs]


@pytest.mark.parametrize(("images", "in_gallery"), [(4, 2), (5, 3), (2, 1)])
def test_the_first_half_of_the_ids_is_the_gallery(tmp_path, images, in_gallery):
    folder = prepared(tmp_path / "data", identities=3, images=images)
    query, gallery = Retrieval(folder).embed(CornerColours())
    # Ids are synthetic-seed0/IDENTITY/IMAGE.
    image_number = {row: int(name.split("/")[-1]) for name, row in by_id(folder).items()}
    assert len(image_number) == 3 * images
    assert sorted(image_number[row] for row in rows_of(gallery)) == sorted(
        list(range(in_gallery)) * 3
    )
    assert sorted(image_number[row] for row in rows_of(query)) == sorted(
        list(range(in_gallery, images)) * 3
    )
    assert not set(rows_of(gallery)) & set(rows_of(query))


def test_the_halves_do_not_depend_on_where_records_are_stored(tmp_path):
    embedded = [
        Retrieval(prepared(tmp_path / str(seed), identities=4, images=5, seed=seed)).embed(
            CornerColours()
        )
        for seed in (0, 1)
    ]
    assert list(by_id(tmp_path / "0")) != list(by_id(tmp_path / "1"))
    for one, other in zip(*embedded, strict=True):
        assert rows_of(one) == rows_of(other)


def test_embeddings_have_length_1(data_root):
    for half in Retrieval(str(data_root / "test")).embed(CornerColours()):
        np.testing.assert_allclose(np.linalg.norm(half.embeddings, axis=1), 1.0, rtol=1e-5)


def test_a_view_has_labels_of_its_own(data_root):
    # Those of the test view are stored after the others', and count from 0 here.
    _, gallery = Retrieval(str(data_root / "test")).embed(CornerColours())
    assert set(gallery.labels) == set(range(open_data_set(data_root / "test").classes))


def test_metrics_have_the_names_of_the_report(tmp_path):
    # 20 identities with 10 queries and 10 in the gallery: 200 * 200 - 20 * 100 = 38,000 impostor
    # pairs.
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 10)
    protocol = Retrieval(prepared(tmp_path / "data", identities=2, images=2))
    query, gallery = (Embedded(normalised(random.normal(size=(200, 8))), labels) for _ in "qg")
    found = protocol.measure(query, gallery)
    # 100 queries of each half are of identities unseen in the other: 10 of them at FPIR 1e-1, 1 at
    # 1e-2. Of the impostor pairs 38 are accepted at FAR 1e-3, fewer than 4 at 1e-4.
    names = ["TAR@FAR=1e-2", "TAR@FAR=1e-3", "top-1", "top-5", "mAP", "Recall@10", "TPIR@FPIR=1e-1"]
    assert list(found.metrics) == names
    parts = found.influences() if found.influences else {}
    assert {name: part.parts.shape for name, part in parts.items()} == dict.fromkeys(names, (20,))


def test_identities_of_one_image_have_nothing_to_search(tmp_path):
    folder = prepared(tmp_path / "data", identities=3, images=1)
    with pytest.raises(InputError, match="every identity has one image"):
        Retrieval(folder).embed(CornerColours())


def test_a_damaged_data_set_is_refused(tmp_path):
    folder = prepared(tmp_path / "data", identities=3, images=2)
    (shard,) = open_data_set(folder).shards
    content = bytearray(shard.path.read_bytes())
    content[len(content) // 2] ^= 1
    shard.path.write_bytes(content)
    with pytest.raises(InputError, match="sha256"):
        Retrieval(folder)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Retrieval(str(tmp_path / "nothing"))
