import hashlib
import json
import struct
from concurrent.futures import ProcessPoolExecutor

import pytest

from bct_keras import processes
from bct_keras.data.dataset import ids_of, open_data_set
from bct_keras.data.shards import Stored, stored_at, stored_records
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare import check as checking
from bct_keras.prepare.run import prepare


def check(path, process_count=0):
    checking.check(path, process_count, say=print)


@pytest.fixture
def faces(tmp_path, write_recordio, insightface_records):
    write_recordio(tmp_path / "faces", insightface_records)
    return tmp_path / "faces"


def test_a_whole_recordio_folder(faces, capsys):
    check(faces)
    assert capsys.readouterr().out.splitlines() == [
        f"{faces / 'train.rec'}: RecordIO, 6 whole images of 3 identities",
        "images per identity: 1 to 3, 2.0 on average; 1 identities have one image",
        "sizes: 16 x 16: 6",
        (
            "duplicates: 0 images repeat an earlier one byte for byte, 0 of them under another"
            " identity"
        ),
        "broken: 0 (records, headers and ends were looked at, no pixels decoded)",
    ]


def test_a_whole_data_set_and_a_view_of_it(faces, tmp_path, capsys):
    prepare(f"recordio({faces}, image_size=16)", "class(old_share=0.4)", tmp_path / "data")
    check(tmp_path / "data")
    assert "data set, 6 whole images of 3 identities\n" in capsys.readouterr().out
    check(tmp_path / "data/new")  # identities 1 and 2 of 0, 1, 2
    assert "data set, 5 whole images of 2 identities\n" in capsys.readouterr().out


def test_duplicates_are_named_and_those_under_another_identity_counted(
    tmp_path, write_recordio, small_jpeg, capsys
):
    one, other = small_jpeg(0), small_jpeg(1)
    almost = (
        one[:60] + bytes((one[60] ^ 1,)) + one[61:]
    )  # as long, with the same end: in a quantisation table
    images = [(0, one), (0, other), (1, almost), (1, one), (0, one)]
    write_recordio(tmp_path, [((float(label),), image) for label, image in images])
    check(tmp_path)
    assert capsys.readouterr().out.splitlines()[3:] == [
        (
            "duplicates: 2 images repeat an earlier one byte for byte, 1 of them under another"
            " identity"
        ),
        "  train.rec/3 of identity 1 = train.rec/0 of identity 0",
        "  train.rec/4 of identity 0 = train.rec/0 of identity 0",
        "broken: 0 (records, headers and ends were looked at, no pixels decoded)",
    ]


def test_what_is_broken_is_listed_and_an_error(tmp_path, write_recordio, small_jpeg, capsys):
    huge = small_jpeg(3)
    frame = huge.index(b"\xff\xc0") + 5
    huge = huge[:frame] + struct.pack(">HH", 60_000, 60_000) + huge[frame + 4 :]
    images = [small_jpeg(0), small_jpeg(1)[:-9], small_jpeg(2), huge, b"GIF89a"]
    write_recordio(tmp_path, [((float(label),), image) for label, image in enumerate(images)])
    (tmp_path / "property").write_text("5 of them")
    with pytest.raises(InputError, match=r"property is not of the form.*\n4 such places"):
        check(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 whole images of 2 identities")
    assert lines[4:] == [
        "broken: 4 (records, headers and ends were looked at, no pixels decoded)",
        f"  {tmp_path / 'property'} is not of the form classes,height,width; mend it or remove it",
        "  train.rec/1: the JPEG is cut off: it has no end marker",
        "  train.rec/3: 60000 x 60000 pixels are too many",
        "  train.rec/4: not a JPEG or PNG image",
    ]


def test_the_same_by_several_processes(tmp_path, write_recordio, small_jpeg, capsys, monkeypatch):
    write_recordio(tmp_path, [((number // 2,), small_jpeg(number % 20)) for number in range(30)])
    check(tmp_path, process_count=1)
    alone = capsys.readouterr().out
    started = []

    class Counted(ProcessPoolExecutor):
        def __init__(self, max_workers, *arguments, **options):
            started.append(max_workers)
            super().__init__(max_workers, *arguments, **options)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Counted)
    monkeypatch.setattr(checking, "RECORDS_WORTH_A_PROCESS", 3)
    monkeypatch.setattr("bct_keras.prepare.check_targets.RECORDS_AT_ONCE", 4)
    check(tmp_path, process_count=3)
    assert capsys.readouterr().out == alone
    assert "10 images repeat an earlier one" in alone
    assert started == [3, 3]  # for each pass


def shard_of(data):
    (shard,) = open_data_set(data).shards
    return shard.path


@pytest.fixture
def data(faces, tmp_path):
    prepare(f"recordio({faces}, image_size=16)", "none", tmp_path / "data")
    return tmp_path / "data"


def test_stored_records_are_those_that_tensorflow_reads(data):
    path = shard_of(data)
    ours = list(stored_records(path))
    (batch,) = open_data_set(data).batches(100)
    assert [record.id for record in ours if isinstance(record, Stored)] == ids_of(batch)
    assert [record.label for record in ours if isinstance(record, Stored)] == batch[
        "label"
    ].numpy().tolist()
    for record in ours:
        assert isinstance(record, Stored)
        assert stored_at(path, record.offset) == record


def test_a_damaged_record_of_a_shard_is_named_and_the_others_are_read(data):
    path = shard_of(data)
    offsets = [record.offset for record in stored_records(path) if isinstance(record, Stored)]
    content = bytearray(path.read_bytes())
    content[offsets[2] + 300] ^= 1
    path.write_bytes(content)
    found = list(stored_records(path))
    assert [isinstance(record, BadImageError) for record in found] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert str(found[2]) == f"{path}, record at byte {offsets[2]}: its checksum is wrong"
    with pytest.raises(InputError, match=rf"record at byte {offsets[2]}: its checksum is wrong"):
        check(data)
    content[offsets[4]] ^= 1
    path.write_bytes(content)
    found = list(stored_records(path))
    assert len(found) == 5
    assert (
        f"record at byte {offsets[4]}: its length is damaged; bytes {offsets[4]} to {len(content)}"
        in str(found[4])
    )


def test_a_missing_shard_and_one_of_another_data_set_are_broken(data, faces, tmp_path, capsys):
    path = shard_of(data)
    prepare(f"recordio({faces}, image_size=16)", "none", tmp_path / "other", seed=5)
    path.write_bytes((tmp_path / "other/shards" / path.name).read_bytes())  # whole, and as long
    with pytest.raises(
        InputError, match=r"its records are whole, but not those of the manifest \(sha256\)"
    ):
        check(data)
    assert "6 whole images" in capsys.readouterr().out
    path.unlink()
    with pytest.raises(InputError, match="this shard is missing"):
        check(data)
    assert "0 whole images" in capsys.readouterr().out


def test_labels_are_those_of_the_manifest(data, capsys):
    manifest = json.loads((data / "manifest.json").read_text())
    for name in ("manifest.json", "manifest.json.copy"):
        (data / name).write_text(json.dumps(manifest | {"classes": 2}))
    with pytest.raises(InputError, match="its label 2 is not of this data set"):
        check(data)
    assert "4 whole images of 2 identities" in capsys.readouterr().out


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"neither a data set .* nor a RecordIO folder"):
        check(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        check(tmp_path / "nothing")


def test_the_hash_that_tells_duplicates_apart_is_of_the_whole_image(faces):
    target = checking.open_target(faces)
    (found,) = (checking.look(target, task, lambda count: None) for task in target.tasks)
    hashes = checking.hashed(target, found.places, lambda count: None)
    expected = [hashlib.sha256(target.read(place)[1]).digest()[:8] for place in range(6)]
    assert hashes.tobytes() == b"".join(expected)
