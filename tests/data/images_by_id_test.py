import shutil

import numpy as np
import pytest

from bct_keras.data import dataset
from bct_keras.data.dataset import open_data_set
from bct_keras.data.images_by_id import ImagesById, extents
from bct_keras.errors import InputError


@pytest.mark.parametrize(("view", "size"), [("all", 28), ("test", 28), ("test", 20)])
def test_images_by_id_are_those_of_reading_from_end_to_end(data_root, view, size):
    data = open_data_set(data_root / view)
    found = ImagesById(data, size)
    from dataclasses import replace

    expected = {}
    for batch in replace(data, image_size=size, same_size=size == 28).batches(7):
        expected |= dict(zip(dataset.ids_of(batch), batch["image"].numpy(), strict=True))
    some = sorted(expected, reverse=True)[::3]
    assert len(some) >= 8
    np.testing.assert_array_equal(found.read(some), np.stack([expected[ident] for ident in some]))
    assert all(ident in found for ident in expected)
    assert "another" not in found


def test_extents_are_where_tensorflow_reads_records(data_root):
    import tensorflow as tf

    (shard,) = open_data_set(data_root / "test").shards
    whole = shard.path.read_bytes()
    records = [record.numpy() for record in tf.data.TFRecordDataset([str(shard.path)])]
    assert [whole[first : first + length] for first, length in extents(shard)] == records


@pytest.mark.parametrize("lost", [1, 5, 10_000])
def test_a_shard_that_was_cut_off_is_told(data_root, tmp_path, lost):
    copy = shutil.copytree(data_root, tmp_path / "copy")
    (shard,) = open_data_set(copy / "test").shards
    shard.path.write_bytes(shard.path.read_bytes()[:-lost])
    with pytest.raises(InputError, match="was cut off; run prepare again"):
        extents(dataset.Shard(shard.path, shard.records, shard.bytes - lost, shard.sha256))
