import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from earlier_versions import list_files

from bct_keras.artefacts import tables
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embedding_files import COLUMNS
from bct_keras.data.embeddings import FIELDS, EmbeddingShards, normalised, open_embeddings
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.methods.class_features import credible

# The released code's values (its credible filter with rows normalised), on 12 classes of 1 to 13
# embeddings.
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "credible_rows.npz")


def credible_rows(
    embeddings: np.ndarray, labels: np.ndarray, kept_share: float = 0.9
) -> np.ndarray:
    """[records] bool, as `embed` finds them class by class."""
    found = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        (found[labels == label],) = credible(embeddings[None, labels == label], kept_share)
    return found


@pytest.fixture(scope="module")
def data(data_root) -> DataSet:
    return open_data_set(data_root)


@pytest.fixture(scope="module")
def embedded(data, tiny_encoder_path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("embedded") / "by-old"
    embed(load_encoder(tiny_encoder_path(4)), data, out)
    return out


@pytest.fixture
def own_copy(embedded, tmp_path) -> Path:
    return Path(shutil.copytree(embedded, tmp_path / "by-old"))


def read(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def change_manifest(folder: Path, change) -> None:
    manifest = read(folder)
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(("kept_share", "expected"), [(0.9, "rows_0_9"), (0.5, "rows_0_5")])
def test_credible_rows_are_those_of_the_released_code(kept_share, expected):
    found = credible_rows(GOLDEN["old_features"], GOLDEN["labels"], kept_share)
    np.testing.assert_array_equal(found, GOLDEN[expected])


def test_credible_rows_do_not_depend_on_the_order_of_the_records():
    order = np.random.default_rng(0).permutation(len(GOLDEN["labels"]))
    found = credible_rows(GOLDEN["old_features"][order], GOLDEN["labels"][order], 0.5)
    np.testing.assert_array_equal(found, GOLDEN["rows_0_5"][order])


def test_the_outlier_of_a_class_is_not_credible():
    # Directions: nine close to (1, 0) and one at a right angle; its length counts for nothing.
    # ceil(0.9 * 10) = 9
    angles = np.array([0.0, 0.1, -0.1, 0.2, np.pi / 2, -0.2, 0.15, -0.15, 0.05, -0.05])
    lengths = np.arange(1, 11)[:, None]
    embeddings = (lengths * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)
    found = credible_rows(embeddings, np.full(10, 7))
    assert np.flatnonzero(~found).tolist() == [4]


@pytest.mark.parametrize(
    ("kept_share", "images", "kept"),
    # 0.07 * 100 is 7.000000000000001 in floating point, and 7 have to be kept.
    [
        (0.9, 1, 1),
        (0.9, 2, 2),
        (0.9, 11, 10),
        (0.9, 20, 18),
        (0.07, 100, 7),
        (0.071, 100, 8),
        (1.0, 5, 5),
    ],
)
def test_the_share_is_rounded_up(kept_share, images, kept):
    embeddings = np.random.default_rng(0).normal(size=(images, 4))
    assert credible_rows(embeddings, np.zeros(images, np.int64), kept_share).sum() == kept


def test_of_equal_embeddings_the_first_are_credible():
    found = credible_rows(np.ones((4, 3)), np.zeros(4, np.int64), 0.5)
    assert found.tolist() == [True, True, False, False]


def test_normalised_rows_have_length_one_and_nothing_stays_nothing():
    np.testing.assert_allclose(
        normalised(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]]
    )


@pytest.mark.parametrize("field", FIELDS)
def test_a_stream_gives_the_rows_as_stored(data, embedded, field):
    shards = open_embeddings(embedded, data)
    assert isinstance(shards, EmbeddingShards)
    assert shards.dims == 4
    for number, shard in enumerate(data.shards):
        stored = np.load(embedded / f"{shard.name}.{field}.npy")
        rows = np.stack(list(shards.stream(field, tf.constant(number)).as_numpy_iterator()))
        np.testing.assert_array_equal(rows, stored)
        assert rows.dtype == stored.dtype
        assert len(rows) == shard.records


def test_the_fingerprint_is_that_of_the_content(
    data, embedded, own_copy, tiny_encoder_path, tmp_path
):
    embed(load_encoder(tiny_encoder_path(5)), data, tmp_path / "other")
    found, copied, other = (
        open_embeddings(path, data).fingerprint for path in (embedded, own_copy, tmp_path / "other")
    )
    assert found == copied != other


def test_embeddings_of_another_data_set_are_refused(data, data_root, embedded):
    with pytest.raises(
        InputError, match=r"by-old holds embeddings of another data set \(.*faces\), not of .*new"
    ):
        open_embeddings(embedded, open_data_set(data_root / "new"))


def cut_off(folder: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def change_a_byte(folder: Path, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def remove(folder: Path, file: Path) -> None:
    file.unlink()


def leave_out_of_manifest(folder: Path, file: Path) -> None:
    """Of an earlier version; a table has a sha256 for each field."""
    list_files(folder, open_data_set(read(folder)["data_folder"]))
    change_manifest(folder, lambda manifest: manifest["files"].pop(file.name))


@pytest.mark.parametrize("harm", [cut_off, change_a_byte, remove, leave_out_of_manifest])
@pytest.mark.parametrize("field", FIELDS)
def test_an_embedding_shard_that_is_not_as_written_is_named(data, own_copy, harm, field):
    file = own_copy / f"{data.shards[-1].name}.{field}.npy"
    harm(own_copy, file)
    with pytest.raises(
        InputError,
        match=rf"{file.name}: this embedding shard is missing or was changed; remove .*by-old",
    ):
        open_embeddings(own_copy, data)


@pytest.mark.parametrize(
    "harm", [{"shards": None}, {"shards": "x"}, {"dims": None}, {"dims": "many"}]
)
def test_a_manifest_that_is_not_complete_is_named(data, own_copy, harm):
    change_manifest(own_copy, lambda manifest: manifest.update(harm))
    said = r"by-old.manifest\.json: '(shards|dims)' has to be .*; remove .* and run embed again"
    with pytest.raises(InputError, match=said):
        open_embeddings(own_copy, data)


def test_a_manifest_names_no_file_outside_the_folder(data, own_copy):
    """Only the names that the data set's own shards give are opened."""
    list_files(own_copy, data)
    change_manifest(
        own_copy, lambda manifest: manifest["files"].update({"../../elsewhere.npy": "0" * 64})
    )
    assert open_embeddings(own_copy, data).dims == 4


def test_embeddings_of_an_earlier_version_are_the_same(data, embedded, own_copy, tiny_encoder_path):
    list_files(own_copy, data)
    before = open_embeddings(own_copy, data)
    assert before.fingerprint == open_embeddings(embedded, data).fingerprint
    encoder = load_encoder(read(own_copy)["encoder"])
    assert "up to date" in embed(encoder, data, own_copy)
    before.folder.joinpath(f"{data.shards[0].name}.label.npy").unlink()
    assert "mended" in embed(encoder, data, own_copy)
    assert open_embeddings(own_copy, data).fingerprint == before.fingerprint


def test_a_table_of_other_shards_is_refused(data, own_copy):
    """It is what its manifest says, as somebody would make it who wants it to be taken."""
    facts = read(own_copy)["shards"]
    table = tables.read_table(own_copy / "shards.table", facts, COLUMNS, "embeddings")
    for rows, said in [
        (table.rows[1:], "shards.table has 2 shards, and 3 were embedded"),
        (table.rows[::-1], r"shards.table, row 1 at byte \d+: this is not the shard .*-0000"),
    ]:
        facts = tables.write_table(own_copy, rows)
        change_manifest(own_copy, partial(dict.update, shards=facts))
        with pytest.raises(InputError, match=said):
            open_embeddings(own_copy, data)
