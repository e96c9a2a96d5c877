"""Data sets and embeddings in a store: the bytes of this machine's, and nothing half-committed."""

from pathlib import Path

import pytest

from bct_keras import artefacts, stores
from bct_keras.artefacts.in_store import STARTED
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.engines import Local, Part
from bct_keras.errors import InputError
from bct_keras.prepare import check, looking, workplace, writing
from bct_keras.prepare.run import prepare

FACES = "synthetic(identities=20, images=3, image_size=28)"
SPLIT = "class(test_share=0.2)"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 24)
    monkeypatch.setattr(looking, "RECORDS_PER_CHECK", 50)
    monkeypatch.setattr(workplace, "RECORDS_WORTH_A_PROCESS", 1)


def content(folder: Path) -> dict[str, bytes]:
    return {name: stores.here(folder / name).read_bytes() for name in stores.names_in(folder)}


@pytest.fixture(scope="module")
def encoder(tiny_encoder_path):
    return load_encoder(tiny_encoder_path(4))


@pytest.mark.parametrize("part_count", [0, 2])
def test_a_data_set_and_its_embeddings(bucket, tmp_path, encoder, part_count):
    parts = [Part(number, part_count) for number in range(part_count)] or [None]
    prepare(FACES, SPLIT, tmp_path / "data", on_bad="skip")
    for part in parts:
        engine = Local(1 if part else 2)
        said = prepare(FACES, SPLIT, bucket / "data", on_bad="skip", engine=engine, part=part)
    assert said.startswith(f"{bucket / 'data'} written: 60 images of 20 identities")
    assert content(bucket / "data") == content(tmp_path / "data")
    assert "up to date" in prepare(FACES, SPLIT, bucket / "data", on_bad="skip")

    here = open_data_set(tmp_path / "data" / "new")
    there = open_data_set(str(bucket / "data" / "new"))
    assert there.fingerprint == here.fingerprint
    embed(encoder, here, tmp_path / "by")
    for part in parts:
        said = embed(encoder, there, bucket / "by", part=part)
    assert "written" in said
    expected, found = content(tmp_path / "by"), content(bucket / "by")
    manifests = [each.pop(artefacts.MANIFEST).decode() for each in (expected, found)]
    for each, manifest in zip((expected, found), manifests, strict=True):
        assert each.pop(artefacts.MANIFEST + artefacts.COPY).decode() == manifest
    assert found == expected
    # They tell where the data set is.
    assert manifests[0].replace(str(tmp_path), str(bucket)) == manifests[1]
    assert open_embeddings(bucket / "by", there).fingerprint == (
        open_embeddings(tmp_path / "by", here).fingerprint
    )
    check.check(bucket / "data", 1, print)


def test_a_command_that_was_killed_goes_on(bucket, monkeypatch):
    write, written = writing.Writer.do, []

    def killed_at_the_third(self, piece, report):
        written.append(piece.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(self, piece, report)

    monkeypatch.setattr(writing.Writer, "do", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(FACES, "none", bucket, engine=Local(1))
    assert stores.size_of(bucket / artefacts.MANIFEST) is None
    with pytest.raises(InputError, match=r"no data set is there in the store"):
        open_data_set(bucket)
    with pytest.raises(InputError, match=r"was begun from something else and is not finished"):
        prepare(FACES, "none", bucket, seed=3)
    prepare(FACES, "none", bucket, engine=Local(1))
    assert sorted(written) == [f"all-0000{number}" for number in (0, 1, 2, 2)]
    assert not [name for name in stores.names_in(bucket) if STARTED in name or "results" in name]


def test_a_key_that_was_deleted_is_named(bucket, encoder, tmp_path):
    prepare(FACES, "none", bucket)
    data = open_data_set(bucket)
    stores.remove_files(bucket, ["shards/all-00002.tfrecord"])
    said = r"s3://.*/shards/all-00002.tfrecord: this shard is missing; the same prepare makes it"
    with pytest.raises(InputError, match=said):
        data.files()
    with pytest.raises(InputError, match=said):
        embed(encoder, open_data_set(bucket), tmp_path / "by")
    with pytest.raises(InputError, match=said):
        embed(encoder, open_data_set(bucket), tmp_path / "by", part=Part(1, 1))
    with stores.uploading(bucket / "shards/all-00002.tfrecord") as file:
        file.write_text("cut off")
    with pytest.raises(InputError, match="this shard has 7 bytes and its manifest says"):
        data.files()


@pytest.mark.parametrize(
    "lost", ["manifest.json", "manifest.json.copy", "shards.table", "shards.table.copy"]
)
def test_a_key_that_was_deleted_is_there_again(bucket, lost):
    prepare(FACES, "none", bucket, engine=Local(1))
    before = content(bucket)
    stores.remove_files(bucket, [lost])
    with pytest.raises(InputError, match=rf"s3://.*/{lost}: this .* is missing"):
        check.check(bucket, 1, print)
    assert f"mended, {lost} made anew" in prepare(FACES, "none", bucket, engine=Local(1))
    assert content(bucket) == before


def test_a_store_folder_that_holds_something_else_is_refused(bucket):
    with stores.uploading(bucket / "photo.jpg") as file:
        file.write_text("of somebody")
    with pytest.raises(InputError, match=r"holds something else"):
        prepare(FACES, "none", bucket)
    assert stores.names_in(bucket) == ["photo.jpg"]
