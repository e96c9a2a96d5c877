"""Parts of the embeddings of a data set, and an embedding that was stopped on the way."""

import random

import numpy as np
import pytest

from bct_keras import artefacts
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed.run import embed, embed_and_tell
from bct_keras.encoders import KerasEncoder, load_encoder
from bct_keras.engines import Local, Part
from bct_keras.errors import InputError
from bct_keras.prepare import writing
from bct_keras.prepare.run import prepare

IMAGES = 70  # in 9 shards


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "faces"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writing, "RECORDS_PER_SHARD", 8)
        prepare("synthetic(identities=10, images=7, image_size=28)", "none", folder)
    return open_data_set(folder)


@pytest.fixture(scope="module")
def encoder(tiny_encoder_path):
    return load_encoder(tiny_encoder_path(4))


@pytest.fixture(scope="module")
def whole(data, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "whole"
    embed(encoder, data, out)
    return content(out)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class KilledError(BaseException):
    """What a kill does: nothing is caught."""


def test_parts_make_the_same_bytes(data, encoder, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    order = [0, 1, 2, 3]
    random.Random(0).shuffle(order)
    embed_data = KerasEncoder.embed_data

    def killed(self, data, shards):
        raise KilledError

    for number in [order[0], *order]:  # one of them twice
        monkeypatch.setattr(KerasEncoder, "embed_data", killed)
        if number != order[0]:
            with pytest.raises(KilledError):
                embed(encoder, data, out, part=Part(number, 4))
        monkeypatch.setattr(KerasEncoder, "embed_data", embed_data)
        assert not out.exists()
        lines: list[str] = []
        lines.append(embed_and_tell(encoder, data, out, lines.append, part=Part(number, 4)))
    assert f"{out} written: {IMAGES} embeddings of 4 dimensions" in lines
    assert content(out) == whole
    assert open_embeddings(out, data).dims == 4


def test_an_embedding_that_was_killed_goes_on(data, encoder, whole, tmp_path, monkeypatch):
    embed_data = KerasEncoder.embed_data
    embedded = []

    def killed_at_the_fifth(self, data, shards):
        embedded.extend(shards)
        if len(embedded) == 5:
            raise KilledError
        return embed_data(self, data, shards)

    monkeypatch.setattr(KerasEncoder, "embed_data", killed_at_the_fifth)
    with pytest.raises(KilledError):
        embed(encoder, data, tmp_path / "out")
    embed(encoder, data, tmp_path / "out")
    assert len(embedded) == 5 + 5  # of 9
    assert content(tmp_path / "out") == whole


def test_a_part_reads_its_own_shards_alone_and_says_which_was_changed(
    data, encoder, tmp_path, monkeypatch
):
    read = []
    file_sha256 = artefacts.file_sha256

    def noted(path):
        read.append(path)
        return file_sha256(path) if path != data.shards[2].path else "another"

    monkeypatch.setattr(artefacts, "file_sha256", noted)
    with pytest.raises(
        InputError, match=r"all-00002\.tfrecord: this shard is not what its manifest"
    ):
        embed(encoder, data, tmp_path / "out", part=Part(2, 4))
    assert [path for path in read if path.suffix == ".tfrecord"] == [data.shards[2].path]
    assert (tmp_path / ".out.partial").is_dir()  # with the work of the others


@pytest.mark.long
def test_two_processes_each_load_the_encoder(data, encoder, whole, tmp_path):
    embed(encoder, data, tmp_path / "out", engine=Local(2))
    assert content(tmp_path / "out") == whole
    assert np.load(tmp_path / "out" / "all-00000.label.npy").dtype == np.int64
