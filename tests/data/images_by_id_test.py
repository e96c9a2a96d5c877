import shutil
from dataclasses import replace

import numpy as np
import pytest

from bct_keras.data import dataset
from bct_keras.data.dataset import open_data_set
from bct_keras.data.images_by_id import ImagesById
from bct_keras.errors import BadImageError


@pytest.mark.parametrize(("view", "size"), [("all", 28), ("test", 28), ("test", 20)])
def test_images_by_id_are_those_of_reading_from_end_to_end(data_root, view, size):
    data = open_data_set(data_root / view)
    found = ImagesById(data, size)
    expected = {}
    for batch in replace(data, image_size=size, same_size=size == 28).batches(7):
        expected |= dict(zip(dataset.ids_of(batch), batch["image"].numpy(), strict=True))
    some = sorted(expected, reverse=True)[::3]
    assert len(some) >= 8
    np.testing.assert_array_equal(found.read(some), np.stack([expected[ident] for ident in some]))
    assert all(ident in found for ident in expected)
    assert "another" not in found


@pytest.mark.parametrize("lost", [1, 5, 10_000])
def test_a_shard_that_was_cut_off_is_told(data_root, tmp_path, lost):
    copy = shutil.copytree(data_root, tmp_path / "copy")
    data = open_data_set(copy / "test")
    (shard,) = data.shards
    shard.path.write_bytes(shard.path.read_bytes()[:-lost])
    with pytest.raises(BadImageError, match=r"record at byte .* the shard ends"):
        ImagesById(data, 28)
