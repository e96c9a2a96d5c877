"""Photos in a store: the data set that they make on this machine, and nothing that is no photo."""

from pathlib import Path

import pytest

from bct_keras import stores
from bct_keras.engines import Local
from bct_keras.errors import InputError
from bct_keras.prepare import workplace, writing
from bct_keras.prepare.run import prepare
from bct_keras.prepare.sources.folder import Folder
from bct_keras.prepare.sources.recordio import RecordIO

NAMES = ("bert/1.jpg", "bert/2.jpg", "anna/a.JPEG", "anna/10.jpg", "anna/9.jpg")
OTHERS = ("anna/notes.txt", "anna/deep/4.jpg", "list.jpg")


@pytest.fixture
def photos(tmp_path, bucket, small_jpeg) -> Path:
    """The same files in a folder of this machine and in one of the store; returns the first."""
    folder = tmp_path / "photos"
    for number, name in enumerate(NAMES + OTHERS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_jpeg(number))
        stores.put(path, bucket / "photos" / name)
    return folder


def shards_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def test_photos_in_a_store_make_the_same_data_set(photos, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 2)
    monkeypatch.setattr(workplace, "RECORDS_WORTH_A_PROCESS", 1)
    there = f"folder({bucket}/photos)"
    said = prepare(there, "none", tmp_path / "there", engine=Local(2))
    assert said.splitlines()[-1].endswith(f"3, such as {bucket}/photos/anna/deep")
    prepare(f"folder({photos})", "none", tmp_path / "here")
    assert shards_in(tmp_path / "there") == shards_in(tmp_path / "here")
    assert (tmp_path / "there/names.json").read_bytes() == (
        tmp_path / "here/names.json"
    ).read_bytes()
    assert "up to date" in prepare(there, "none", tmp_path / "there")
    stores.put(photos / "bert/1.jpg", bucket / "photos/bert/2.jpg")
    with pytest.raises(InputError, match=r"made from something else \(source_fingerprint"):
        prepare(there, "none", tmp_path / "there")


def test_a_photo_that_is_deleted_meanwhile_is_named(photos, bucket):
    source = Folder(f"{bucket}/photos")
    stores.remove_files(bucket / "photos", ["anna/9.jpg"])
    with pytest.raises(InputError, match=r"photos/anna/9.jpg: there is nothing there in the store"):
        source.read(1)


def test_places_with_no_photos_and_recordio_files_are_refused(bucket):
    with pytest.raises(InputError, match=r"nothing: 0 identities with images found"):
        Folder(f"{bucket}/nothing")
    with pytest.raises(InputError, match=r"copy the folder to this machine"):
        RecordIO(f"{bucket}/faces")
