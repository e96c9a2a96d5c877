"""Embedding for a report by an engine, shard by shard."""

import numpy as np
import pytest

from bct_keras.data.dataset import open_data_set
from bct_keras.embed.by_shards import embeddings_by
from bct_keras.encoders import KerasEncoder, load_encoder
from bct_keras.engines import Local
from bct_keras.evaluate.run import evaluate
from bct_keras.prepare import writing
from bct_keras.prepare.run import prepare


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 16)
    prepare("synthetic(identities=12, images=4, image_size=28)", "none", tmp_path / "data")
    return tmp_path / "data"


def test_a_report_is_the_same(folder, tiny_encoder_path, tmp_path):
    old, new = (load_encoder(tiny_encoder_path(4)) for _ in range(2))
    protocols = [f"retrieval({folder})"]
    here = evaluate(old, new, protocols, tmp_path / "a" / "report")
    there = evaluate(old, new, protocols, tmp_path / "b" / "report", engine=Local(1))
    (one,), (other,) = here["protocols"].values(), there["protocols"].values()
    for pair in ("old/old", "new/old", "new/new"):
        assert other[pair] == pytest.approx(one[pair], abs=1e-6)
    left = {path.name for path in (tmp_path / "b" / "embeddings").iterdir()}
    assert left == {path.name for path in (tmp_path / "a" / "embeddings").iterdir()}


def test_what_a_killed_command_left_is_taken_up(folder, tiny_encoder_path, tmp_path, monkeypatch):
    data = open_data_set(folder)
    encoder = load_encoder(tiny_encoder_path(4))
    embed_data, embedded = KerasEncoder.embed_data, []

    def stopped_at_the_second(self, data, shards):
        embedded.extend(shard.name for shard in shards)
        if len(embedded) == 2:
            raise KeyboardInterrupt
        return embed_data(self, data, shards)

    monkeypatch.setattr(KerasEncoder, "embed_data", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        embeddings_by(Local(1), encoder, data, tmp_path / "beside")
    found = embeddings_by(Local(1), encoder, data, tmp_path / "beside")
    assert embedded == ["all-00000", "all-00001", "all-00001", "all-00002"]
    monkeypatch.undo()
    expected = np.concatenate([each for each, _ in encoder.embed_data(data)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert list((tmp_path / "beside").iterdir()) == []
