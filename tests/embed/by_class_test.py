import numpy as np
import pytest

from bct_keras.embed import by_class
from bct_keras.embed.by_class import map_classes


@pytest.fixture
def strewn(tmp_path):
    """37 records of 7 classes of 1 to 11 images, over four shards in random order; class 3 has
    none.
    """
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat([0, 1, 2, 4, 5, 6, 7], [1, 4, 4, 7, 11, 4, 6]))
    values = random.normal(size=(len(labels), 3)).astype(np.float32)
    paths = [tmp_path / f"{shard}.npy" for shard in range(4)]
    for path, rows in zip(paths, np.split(values, [10, 11, 30]), strict=True):
        np.save(path, rows)
    return labels, values, paths


def sums(block):
    return block.embeddings[0].sum(1)


@pytest.mark.parametrize(
    "stretch_bytes", [1, 12 * 9, 2**20], ids=["a class at a time", "a few", "all at once"]
)
def test_every_class_comes_once_with_its_own_rows(strewn, stretch_bytes, monkeypatch):
    monkeypatch.setattr(by_class, "STRETCH_BYTES", stretch_bytes)
    labels, values, paths = strewn
    seen = []
    for block, found in map_classes(sums, labels, [paths], "classes"):
        for label, records, total in zip(block.classes, block.records, found, strict=True):
            np.testing.assert_array_equal(np.sort(records), np.flatnonzero(labels == label))
            np.testing.assert_allclose(total, values[labels == label].sum(0), rtol=1e-5)
            seen.append(label)
    assert sorted(seen) == [0, 1, 2, 4, 5, 6, 7]


def test_sources_go_together(strewn, tmp_path):
    labels, values, paths = strewn
    np.save(tmp_path / "doubled.npy", 2 * values)  # other shards, the same order
    for block, _ in map_classes(sums, labels, [paths, [tmp_path / "doubled.npy"]], "classes"):
        one, two = block.embeddings
        np.testing.assert_array_equal(two, 2 * one)


def test_a_stretch_never_holds_more_than_it_may(strewn, monkeypatch):
    row_bytes = 3 * 4
    monkeypatch.setattr(by_class, "STRETCH_BYTES", 12 * row_bytes)
    labels, _, paths = strewn
    read = []
    read_rows = by_class.read_rows
    monkeypatch.setattr(
        by_class, "read_rows", lambda files, rows: read.append(len(rows)) or read_rows(files, rows)
    )
    list(map_classes(sums, labels, [paths], "classes"))
    assert sum(read) == len(labels)
    assert max(read) <= 12
