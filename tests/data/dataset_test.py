import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from earlier_versions import list_shards
from PIL import Image

from bct_keras import artefacts
from bct_keras.data.dataset import ids_of, open_data_set
from bct_keras.errors import InputError
from bct_keras.prepare.sources.synthetic import Synthetic

SOURCE = Synthetic(12, 6, 28)  # of the fixture data_root


def position_of(name: str) -> int:
    identity, image = name.split("/")[1:]
    return 6 * int(identity) + int(image)


@pytest.fixture
def own_copy(data_root, tmp_path) -> Path:
    return Path(shutil.copytree(data_root, tmp_path / "faces"))


@pytest.mark.parametrize(
    ("view", "first", "identities"), [("", 0, 12), ("old", 0, 2), ("new", 2, 6), ("test", 8, 4)]
)
def test_batches_hold_every_record_once_with_labels_from_0(data_root, view, first, identities):
    data = open_data_set(data_root / view)
    assert (data.classes, data.first_identity, data.records) == (identities, first, 6 * identities)
    seen = []
    for batch in data.batches(10):
        assert batch["image"].dtype == tf.uint8
        for name, label, image in zip(
            ids_of(batch), batch["label"].numpy(), batch["image"].numpy(), strict=True
        ):
            position = position_of(name)
            seen.append(position)
            assert label == SOURCE.labels[position] - first
            expected = np.asarray(Image.open(io.BytesIO(SOURCE.read(position).image)))
            np.testing.assert_array_equal(image, expected)
    assert sorted(seen) == list(range(6 * first, 6 * (first + identities)))


def test_batches_of_some_shards_come_in_stored_order(data_root):
    data = open_data_set(data_root)
    whole = [name for batch in data.batches(7) for name in ids_of(batch)]
    by_shard = [
        name
        for shard in data.shards
        for batch in data.batches(5, (shard,))
        for name in ids_of(batch)
    ]
    assert whole == by_shard


def test_parsing_is_the_same_eagerly_and_in_tf_data(data_root):
    data = open_data_set(data_root / "new")
    stored = tf.data.TFRecordDataset(str(data.shards[0].path)).batch(16)
    for serialized, parsed in zip(stored, stored.map(data.parse), strict=True):
        eager = data.parse(serialized)
        assert eager.keys() == parsed.keys() == {"image", "label", "id"}
        for field, values in eager.items():
            assert np.array_equal(values.numpy(), parsed[field].numpy())


def test_the_fingerprint_is_that_of_the_content_and_the_view(data_root, own_copy):
    fingerprints = {
        view: open_data_set(data_root / view).fingerprint
        for view in ("", "old", "new", "all", "test")
    }
    assert len(set(fingerprints.values())) == 5
    assert {
        view: open_data_set(own_copy / view).fingerprint for view in fingerprints
    } == fingerprints


@pytest.mark.parametrize(
    ("given", "found"), [(".", "faces/new"), ("..", "faces"), ("../new/..", "faces")]
)
def test_a_folder_given_without_a_name_has_one(own_copy, monkeypatch, given, found):
    monkeypatch.chdir(own_copy / "new")
    assert open_data_set(given).folder == own_copy.parent / found
    assert open_data_set("../new").folder == Path("../new")


def change_manifest(folder: Path, change) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def shard_path(folder: Path) -> Path:
    return open_data_set(folder).shards[0].path


def test_a_missing_shard_is_named(own_copy):
    path = shard_path(own_copy)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path.name}: this shard is missing"):
        open_data_set(own_copy)


def test_a_shard_that_was_cut_off_is_named(own_copy):
    path = shard_path(own_copy)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        InputError, match=rf"{path.name}: this shard has \d+ bytes and its manifest says \d+"
    ):
        open_data_set(own_copy)


def test_a_changed_byte_is_found_where_the_content_is_checked(own_copy):
    path = shard_path(own_copy)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    data = open_data_set(own_copy)
    with pytest.raises(
        InputError, match=rf"{path.name}: this shard is not what its manifest says \(sha256\)"
    ):
        data.check_content()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../shards/a.tfrecord", "shards/../a.tfrecord", "shards/.a.tfrecord"]
)
def test_a_manifest_may_not_name_files_elsewhere(own_copy, path):
    list_shards(own_copy)
    change_manifest(own_copy, lambda manifest: manifest["shards"][0].update(path=path))
    with pytest.raises(
        InputError, match=rf"names a shard outside the data set: '{re.escape(path)}'"
    ):
        open_data_set(own_copy)


@pytest.mark.parametrize("key", ["shards", "classes", "first_identity", "image_size", "same_size"])
def test_a_manifest_that_is_not_complete_is_named(own_copy, key):
    change_manifest(own_copy, lambda manifest: manifest.pop(key))
    said = rf"manifest\.json is not complete: '{key}' is missing; remove .* and run prepare again"
    with pytest.raises(InputError, match=said):
        open_data_set(own_copy)


@pytest.mark.parametrize("view", ["", "old", "all", "test"])
def test_a_data_set_of_an_earlier_version_is_the_same(data_root, own_copy, view):
    list_shards(own_copy)
    now = open_data_set(data_root / view)
    before = open_data_set(own_copy / view)
    assert before.fingerprint == now.fingerprint
    expected = [[shard.sha256 for shard in now.shards], now.classes]
    expected += [now.first_identity, now.image_size]
    assert now.fingerprint == artefacts.fingerprint(expected)
    assert before.shards.names() == now.shards.names() == [shard.name for shard in now.shards]
    assert (before.records, before.classes) == (now.records, now.classes)
    assert now.shards[-1] == now.shards[len(now.shards) - 1 :][0]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"table": "../../shards.table"}, r"its shards are in '../../shards.table', where they"),
        ({"rows": [[0, 1], [0, 2]]}, "'rows' are not stretches of the"),
        ({"rows": [[0, 10**9]]}, "'rows' are not stretches of the"),
        ({"rows": []}, "'rows' are not stretches of the"),
        ({"rows": [["a", 1]]}, "'rows' are not stretches of the"),
        ({"bytes": 5}, r"shards.table: this table of the shards ends at byte .* says 5"),
        ({"sha256": "0" * 64}, r"shards.table: .* is not what its manifest says \(sha256\)"),
    ],
)
def test_a_manifest_says_nothing_else_than_its_table(own_copy, harm, said):
    change_manifest(own_copy, lambda manifest: manifest["shards"].update(harm))
    with pytest.raises(InputError, match=said):
        open_data_set(own_copy)
