"""A file of a data set or of embeddings that is lost: found by --check, made anew, and no other."""

from pathlib import Path

import pytest

from bct_keras import artefacts
from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.prepare import check, writing
from bct_keras.prepare.run import prepare
from bct_keras.prepare.sources.synthetic import Synthetic

FACES = "synthetic(identities=20, images=4, image_size=28)"
SPLIT = "class(test_share=0.2)"


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 16)
    prepare(FACES, SPLIT, tmp_path / "data", on_bad="skip")
    return tmp_path / "data"


def states(folder: Path) -> dict[str, tuple[int, bytes]]:
    """The number of each file on the disk, which another one would not have, and its content."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_mended(folder: Path, before: dict[str, tuple[int, bytes]], lost: str) -> None:
    after = states(folder)
    assert after.keys() == before.keys()
    for name, (number, content) in before.items():
        assert after[name][1] == content
        if name != lost:
            assert after[name][0] == number, name


def test_each_file_of_a_data_set_is_found_and_mended(data):
    before = states(data)
    assert len(before) == 5 + 6  # manifests, and shards
    for lost in before:
        (data / lost).rename(data.parent / "kept")  # so that no other file gets its number
        with pytest.raises(InputError, match=Path(lost).name):
            check.check(data, 1, print)
        said = prepare(FACES, SPLIT, data, on_bad="skip")
        assert said.startswith(f"{data} mended, {lost} made anew: 80 images of 20 identities")
        assert_mended(data, before, lost)
        assert sorted(path.name for path in data.parent.iterdir()) == ["data", "kept"]
        before = states(data)
        check.check(data, 1, print)
    assert "is up to date" in prepare(FACES, SPLIT, data, on_bad="skip")


def test_a_shard_that_was_cut_off_is_made_anew(data):
    before = states(data)
    path = data / "shards" / "new-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    prepare(FACES, SPLIT, data, on_bad="skip")
    assert_mended(data, before, "shards/new-00001.tfrecord")


def test_a_shard_that_comes_out_otherwise_is_told(data, monkeypatch):
    (data / "shards" / "new-00001.tfrecord").unlink()
    read = Synthetic.read

    def other(self, position):
        record = read(self, position)
        return type(record)(record.image + b"x", record.id)

    monkeypatch.setattr(Synthetic, "read", other)
    with pytest.raises(
        InputError, match=r"new-00001 was lost, and comes out otherwise than it was"
    ):
        prepare(FACES, SPLIT, data, on_bad="skip")


def test_each_file_of_embeddings_is_mended(data, tmp_path, tiny_encoder_path):
    encoder = load_encoder(tiny_encoder_path(4))
    view = open_data_set(data / "new")
    out = tmp_path / "by"
    embed(encoder, view, out)
    before = states(out)
    for lost in sorted(before.keys() - {artefacts.MANIFEST})[:5]:
        (out / lost).rename(tmp_path / "kept")
        said = embed(encoder, view, out)
        assert said.startswith(f"{out} mended, {lost} made anew: ")
        assert_mended(out, before, lost)
        before = states(out)
