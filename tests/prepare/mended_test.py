"""A file of a data set or of embeddings that is lost: found by --check, made anew, and no other."""

from pathlib import Path

import pytest
from earlier_versions import list_files, list_shards

from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
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
    assert len(before) == 5 + 3 + 6  # manifests, the table and two copies, and shards
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
    others = sorted(name for name in before if not name.endswith(".npy"))
    assert others == ["manifest.json", "manifest.json.copy", "shards.table", "shards.table.copy"]
    for lost in [*others, *sorted(before.keys() - set(others))[:5]]:
        (out / lost).rename(tmp_path / "kept")
        if not lost.endswith(".copy"):
            with pytest.raises(InputError, match=rf"{lost}: this .* is missing"):
                open_embeddings(out, view)
        said = embed(encoder, view, out)
        assert said.startswith(f"{out} mended, {lost} made anew: ")
        assert_mended(out, before, lost)
        before = states(out)


@pytest.mark.parametrize("lost", ["shards.table", "shards.table.copy", "manifest.json.copy"])
def test_a_file_that_was_changed_is_told_and_mended_once_it_is_removed(data, lost):
    before = states(data)
    content = bytearray((data / lost).read_bytes())
    content[-2] ^= 1
    (data / lost).write_bytes(content)
    with pytest.raises(InputError, match=rf"{lost}: .*remove .*the same prepare makes it anew"):
        check.check(data, 1, print)
    (data / lost).rename(data.parent / "kept")
    prepare(FACES, SPLIT, data, on_bad="skip")
    assert_mended(data, before, lost)


def test_a_damaged_copy_is_not_taken(data):
    (data / "shards.table").unlink()
    (data / "shards.table.copy").write_bytes(b"x")
    for attempt in (
        lambda: prepare(FACES, SPLIT, data, on_bad="skip"),
        lambda: open_data_set(data),
    ):
        with pytest.raises(InputError, match=r"shards.table: this table of the shards is missing"):
            attempt()
    assert not (data / "shards.table").exists()


@pytest.mark.parametrize(
    "lost", ["shards/new-00001.tfrecord", "new/manifest.json", "manifest.json"]
)
def test_a_data_set_of_an_earlier_version_is_mended(data, lost):
    """Its manifests list the shards; where one is made anew, all of them tell of a table."""
    list_shards(data)
    before = states(data)
    assert "is up to date" in prepare(FACES, SPLIT, data, on_bad="skip")
    assert states(data) == before
    fingerprint = open_data_set(data / "all").fingerprint
    (data / lost).unlink()
    prepare(FACES, SPLIT, data, on_bad="skip")
    check.check(data, 1, print)
    assert open_data_set(data / "all").fingerprint == fingerprint
    assert (data / "shards.table").is_file() == lost.endswith(".json")
    shards = {name: state for name, state in before.items() if name.startswith("shards/")}
    shards.pop(lost, None)
    assert {name: states(data)[name] for name in shards} == shards


def test_embeddings_of_an_earlier_version_are_mended(data, tmp_path, tiny_encoder_path):
    encoder = load_encoder(tiny_encoder_path(4))
    view = open_data_set(data / "new")
    out = tmp_path / "by"
    embed(encoder, view, out)
    list_files(out, view)
    before = states(out)
    assert "is up to date" in embed(encoder, view, out)
    (out / "new-00001.label.npy").rename(tmp_path / "kept")
    assert "mended, new-00001.label.npy made anew" in embed(encoder, view, out)
    assert_mended(out, before, "new-00001.label.npy")
