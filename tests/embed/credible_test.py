"""Which embeddings are credible, as training asks for it: found once, beside the embeddings."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import EmbeddingShards, open_embeddings
from bct_keras.embed import credible
from bct_keras.embed.credible import with_fields
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.methods import class_features


@pytest.fixture
def shards(data_root, tiny_encoder_path, tmp_path) -> EmbeddingShards:
    data = open_data_set(data_root)
    embed(load_encoder(tiny_encoder_path(4)), data, tmp_path / "by-old")
    return open_embeddings(tmp_path / "by-old", data)


def all_rows(shards: EmbeddingShards, field: str) -> np.ndarray:
    return np.concatenate([shards.rows(field, n) for n in range(len(shards.data.shards))])


def test_they_are_found_over_all_shards(shards, monkeypatch):
    monkeypatch.setattr(class_features, "CREDIBLE_SHARE", 0.5)
    shards = with_fields(shards, ("old_embedding", "credible"))
    assert len(shards.data.shards) > 1
    old, labels, found = (
        all_rows(shards, field) for field in ("old_embedding", "label", "credible")
    )
    assert found.dtype == np.float32
    for label in np.unique(labels):
        # Six images of each identity, in whatever shards they lie: three are nearest their mean.
        (nearest,) = class_features.credible(old[None, labels == label], 0.5)
        assert nearest.sum() == 3
        np.testing.assert_array_equal(found[labels == label], nearest)


def test_a_stream_has_the_rows_of_its_shard(shards):
    shards = with_fields(shards, ["credible_rows_then_columns"])
    values = np.arange(shards.data.records, dtype=np.float32)
    np.save(shards.of_all["credible_rows_then_columns"], values)
    found = []
    for number in range(len(shards.data.shards)):
        stream = shards.stream("credible_rows_then_columns", tf.constant(number))
        found += list(stream.as_numpy_iterator())
    assert found == values.tolist()


def test_they_are_found_once(shards, monkeypatch):
    first = with_fields(shards, ["credible"]).of_all
    monkeypatch.setattr(credible, "credible", lambda shards: pytest.fail("found again"))
    assert with_fields(shards, ["credible"]).of_all == first
    assert with_fields(shards, ["old_embedding"]) is shards
    (path,) = first.values()
    assert path.parent.parent == shards.folder.parent
    shutil.rmtree(path.parent)
    with pytest.raises(pytest.fail.Exception):
        with_fields(shards, ["credible"])
