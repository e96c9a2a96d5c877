import json
from pathlib import Path

import numpy as np
import pytest

from bct_keras import artefacts
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embedding_files import files_of
from bct_keras.data.embeddings import FIELDS, field_path
from bct_keras.embed.run import embed
from bct_keras.encoders import Encoder, KerasEncoder, load_encoder
from bct_keras.errors import InputError


@pytest.fixture(scope="module", params=["", "new"], ids=["the whole set, several shards", "a view"])
def data(data_root, request) -> DataSet:
    return open_data_set(data_root / request.param)


@pytest.fixture(scope="module")
def encoder(tiny_encoder_path) -> Encoder:
    return load_encoder(tiny_encoder_path(4))


@pytest.fixture(scope="module")
def embedded(data, encoder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("embed") / "by-old"
    said = embed(encoder, data, out)
    assert said == f"{out} written: {data.records} embeddings of 4 dimensions"
    return out


def read(folder: Path, data: DataSet, field: str) -> list[np.ndarray]:
    return [np.load(folder / f"{shard.name}.{field}.npy") for shard in data.shards]


def test_each_record_has_its_embedding_and_its_label(data, encoder, embedded):
    for shard, embeddings, labels in zip(
        data.shards,
        read(embedded, data, "old_embedding"),
        read(embedded, data, "label"),
        strict=True,
    ):
        (batch,) = data.batches(shard.records, (shard,))
        np.testing.assert_allclose(
            embeddings, encoder.embed(batch["image"].numpy()), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_array_equal(labels, batch["label"])
        assert (embeddings.dtype, labels.dtype) == (np.float32, np.int64)
    assert set(np.concatenate(read(embedded, data, "label"))) == set(range(data.classes))


def test_the_manifest_names_what_it_was_made_from(data, encoder, embedded):
    manifest = artefacts.read_manifest(embedded, "embeddings")
    assert manifest["made_from"] == {
        "data": data.fingerprint,
        "encoder": encoder.fingerprint,
    }
    assert manifest["dims"] == 4
    files = {path.name for path in embedded.glob("*.npy")}
    assert len(files) == len(FIELDS) * len(data.shards)
    for shard, digests in zip(data.shards, files_of(embedded, manifest, data.shards), strict=True):
        for field in FIELDS:
            assert digests[field] == artefacts.file_sha256(field_path(embedded, shard, field))


def test_what_is_there_is_not_made_again(data, encoder, embedded, monkeypatch):
    monkeypatch.setattr(KerasEncoder, "embed", None)
    before = {path: path.stat().st_mtime_ns for path in embedded.iterdir()}
    assert (
        embed(encoder, data, embedded)
        == f"{embedded} is up to date: {data.records} embeddings of 4 dimensions"
    )
    assert {path: path.stat().st_mtime_ns for path in embedded.iterdir()} == before


def test_another_encoder_or_data_set_needs_another_folder(
    data, data_root, encoder, embedded, tiny_encoder_path
):
    with pytest.raises(InputError, match=r"by-old is there, made from something else \(encoder: "):
        embed(load_encoder(tiny_encoder_path(5)), data, embedded)
    with pytest.raises(InputError, match=r"by-old is there, made from something else \(data: "):
        embed(encoder, open_data_set(data_root / "test"), embedded)


def test_a_shard_that_was_changed_is_found_before_anything_is_written(data, encoder, tmp_path):
    folder = tmp_path / "data"
    (folder / "shards").mkdir(parents=True)
    entries = []
    for shard in data.shards:
        content = bytearray(shard.path.read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "shards" / shard.path.name).write_bytes(content)
        entry = {"path": f"shards/{shard.path.name}", "records": shard.records}
        entries.append(entry | {"bytes": shard.bytes, "sha256": shard.sha256})
    manifest = json.loads((data.folder / "manifest.json").read_text()) | {"shards": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        InputError, match=r"\.tfrecord: this shard is not what its manifest says \(sha256\)"
    ):
        embed(encoder, open_data_set(folder), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [folder]


def test_an_encoder_that_fails_midway_leaves_nothing(data, encoder, tmp_path, monkeypatch):
    whole = KerasEncoder.embed
    calls = []

    def fails_at_the_last_shard(self, images):
        calls.append(len(images))
        return whole(self, images) * (np.nan if len(calls) == len(data.shards) else 1.0)

    monkeypatch.setattr(KerasEncoder, "embed", fails_at_the_last_shard)
    with pytest.raises(InputError, match="gives no finite embedding for image"):
        embed(encoder, data, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
