"""Expected values come from MXNet 1.9.1's own reader: golden/recordio.json, made by
golden/recordio_by_mxnet.py.
"""

import hashlib
import json
import pickle
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from bct_keras import specs
from bct_keras.data.recordio import images as recordio_images
from bct_keras.data.recordio.index import places_by_index
from bct_keras.data.recordio.reading import RecordFile
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.sources.recordio import RecordIO

TESTS = Path(__file__).parents[2]
GOLDEN = TESTS / "golden/recordio"
BY_MXNET = json.loads((TESTS / "golden/recordio.json").read_text())
SHARED = TESTS.parents[1] / "shared/data"  # larger files of the same kind, where they are at hand


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def golden_folders():
    yield pytest.param(GOLDEN, id="recordio")
    for name in ("insightface_sample", "recordio_edge"):
        missing = pytest.mark.skipif(not (SHARED / name).is_dir(), reason="shared data is not here")
        yield pytest.param(SHARED / name, id=name, marks=missing)


def images_of(source: RecordIO) -> dict[str, list]:
    """[label, sha256] by key."""
    found = {}
    for position, label in enumerate(source.labels):
        record = source.read(position)
        found[record.id.split("/")[-1]] = [float(source.identities[label]), sha256(record.image)]
    return found


def images_by_mxnet(name: str) -> dict[str, list]:
    """[label, sha256] by key, without records that have no image (the header, ranges)."""
    images = BY_MXNET[name]["images"]
    return {
        key: [labels[0], image] for key, (labels, image) in images.items() if image != sha256(b"")
    }


@pytest.mark.parametrize("folder", golden_folders())
def test_payloads_are_those_of_mxnet(folder):
    (path,) = folder.glob("*.rec")
    file = RecordFile(path)
    places = places_by_index(path.with_suffix(".idx"), file.size)
    by_key = [file.read(start, end) for start, end in zip(places.starts, places.ends, strict=True)]
    assert sha256("".join(map(sha256, by_key)).encode()) == BY_MXNET[folder.name]["payloads_by_key"]
    scanned = [
        file.read(*found[:2]) for found in file.scan() if not isinstance(found, BadImageError)
    ]
    assert (
        sha256("".join(map(sha256, scanned)).encode())
        == BY_MXNET[folder.name]["payloads_in_file_order"]
    )


@pytest.mark.parametrize("folder", golden_folders())
@pytest.mark.parametrize("indexed", [True, False])
def test_images_and_labels_are_those_of_mxnet(folder, indexed, tmp_path):
    for file in folder.iterdir():
        if indexed or file.suffix != ".idx":
            shutil.copyfile(file, tmp_path / file.name)
    assert images_of(RecordIO(str(tmp_path), image_size=16)) == images_by_mxnet(folder.name)


def test_identities_and_image_size_of_the_golden_file():
    source = specs.build(SOURCES, f"recordio({GOLDEN})")
    assert source.image_size == 16
    assert source.identities == ["0", "1", "2"]
    assert source.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert source.read(0).id == "train.rec/1"
    assert not source.broken


def test_the_index_may_be_in_any_order(tmp_path):
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    lines = (GOLDEN / "train.idx").read_text().splitlines()
    random.Random(0).shuffle(lines)
    (tmp_path / "train.idx").write_text("\r\n".join(lines))
    assert images_of(RecordIO(str(tmp_path))) == images_by_mxnet("recordio")


def test_opening_with_ranges_reads_one_image_of_each_identity(monkeypatch):
    read = []
    head = RecordFile.head
    monkeypatch.setattr(
        RecordFile, "head", lambda self, *place: read.append(place) or head(self, *place)
    )
    RecordIO(str(GOLDEN))
    assert len(read) == 1 + 3 + 3  # the header, the ranges, an image for each


def test_records_are_read_in_another_process_s_copy():
    source = RecordIO(str(GOLDEN))
    first = source.read(0)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(0) == first
    assert len(pickle.dumps(source)) < 2000


def test_labels_are_those_of_the_file_in_their_order(write_recordio, small_jpeg, tmp_path):
    # No header, one label each; identities 7, 3 and 1000.
    write_recordio(
        tmp_path, [((label,), small_jpeg(number)) for number, label in enumerate((7, 3, 7, 1000))]
    )
    source = RecordIO(str(tmp_path))
    assert source.identities == ["3", "7", "1000"]
    assert source.labels.tolist() == [1, 0, 1, 2]
    assert source.image_size == 16  # the first image's


@pytest.mark.parametrize(
    "ranges", [[(1, 2), (2, 5)], [(1, 2), (2, 6), (5, 7)], [(1, 2), (2, 5), (5, float("nan"))]]
)
def test_ranges_that_do_not_fit_are_not_believed(
    write_recordio, insightface_records, tmp_path, ranges
):
    records = [
        ((7, 7 + len(ranges)), b""),
        *insightface_records[1:7],
        *((pair, b"") for pair in ranges),
    ]
    write_recordio(tmp_path, records)
    source = RecordIO(str(tmp_path))
    assert source.labels.tolist() == [0, 1, 1, 1, 2, 2]


def test_a_label_that_is_not_its_range_s_is_an_error(write_recordio, insightface_records, tmp_path):
    insightface_records = list(insightface_records)
    insightface_records[3] = ((2.0, 0.0), insightface_records[3][1])
    starts = write_recordio(tmp_path, insightface_records)
    source = RecordIO(str(tmp_path))
    with pytest.raises(
        BadImageError, match=rf"train.rec, record at byte {starts[3]}: its label is 2.0 .* says 1"
    ):
        source.read(2)
    (
        tmp_path / "train.idx"
    ).unlink()  # as its message for other faults advises: then each label is believed
    assert RecordIO(str(tmp_path)).labels.tolist() == [0, 1, 2, 1, 2, 2]


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan"), float("inf")])
def test_a_label_that_is_no_identity_is_broken(write_recordio, small_jpeg, tmp_path, label):
    starts = write_recordio(tmp_path, [((value,), small_jpeg(0)) for value in (0, label, 1)])
    source = RecordIO(str(tmp_path))
    assert source.labels.tolist() == [0, 1]
    (broken,) = source.broken
    assert (
        f"record at byte {starts[1]}: its label {label} is not the number of an identity" in broken
    )


def test_images_that_the_header_counts_and_nobody_finds_are_reported(
    write_recordio, insightface_records, tmp_path
):
    # Cut off exactly between two records: nothing else shows that images are missing.
    starts = write_recordio(tmp_path, insightface_records)
    path = tmp_path / "train.rec"
    path.write_bytes(path.read_bytes()[: starts[5]])
    (tmp_path / "train.idx").unlink()
    source = RecordIO(str(tmp_path))
    assert len(source.labels) == 4
    assert source.broken == [f"{path}: its header record counts 6 images, and 4 were found"]


def test_a_search_goes_on_behind_what_is_damaged(write_recordio, insightface_records, tmp_path):
    starts = write_recordio(tmp_path, insightface_records)
    content = bytearray((tmp_path / "train.rec").read_bytes())
    content[starts[2] : starts[2] + 4] = b"\0\0\0\0"
    content[starts[4] + 4 : starts[4] + 8] = struct.pack("<I", 5000)  # its length
    (tmp_path / "train.rec").write_bytes(content)
    (tmp_path / "train.idx").unlink()
    source = RecordIO(str(tmp_path))
    assert source.places.starts.tolist() == [starts[number] for number in (1, 3, 5, 6)]
    assert [
        f"bytes {starts[number]} to {starts[number + 1]} cannot be read" in text
        for number, text in zip((2, 4), source.broken, strict=True)
    ] == [True, True]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("0\t0\n1\t48\n1\t40", "has the key 1 twice"),
        ("0\t0\n1\t40\n2\t40\n", "two keys for the record at byte 40"),
        ("1\t40\n2\t716\n", "start at bytes 40 to 716 of a file of 4296 bytes"),
        ("0\t0\n1\t4296\n", "start at bytes 0 to 4296"),
        ("0\t0\n1\t40\nx\t80\n", "train.idx, line 3 is not of the form key, tab, offset"),
        ("0\t0\n1 40\n", "line 2 is not"),
        ("0\t0\n\t40\n", "line 2 is not"),
        ("0\t0\n1\t-40\n", "line 2 is not"),
        ("0\t0\n1\t\n\t40\n", "line 2 is not"),
        ("0\t0\n1\t" + "9" * 30, "start at bytes 0 to 9223372036854775807"),
        ("", "line 1 is not"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, index, message):
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "train.idx").write_text(index)
    with pytest.raises(InputError, match=message):
        RecordIO(str(tmp_path))


def test_a_record_that_the_index_leaves_out_is_noticed(tmp_path):
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    lines = (GOLDEN / "train.idx").read_text().splitlines(keepends=True)
    (tmp_path / "train.idx").write_text(
        "".join(lines[:3] + lines[4:])
    )  # without key 3, at byte 1404
    source = RecordIO(str(tmp_path))
    assert len(source.labels) == 4
    assert (
        "record at byte 716: it ends at byte 1404 and the next one of the index starts at 2088"
        in source.broken[0]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3,16", "classes,height,width"),
        ("3,112,96", "96 x 112 pixels; give a square size"),
        ("3,2,2", "2 x 2"),
    ],
)
def test_a_property_that_says_no_size_is_refused(tmp_path, content, message):
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "property").write_text(content)
    with pytest.raises(InputError, match=message):
        RecordIO(str(tmp_path))


def test_a_folder_without_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        RecordIO(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="is needed; found: none"):
        RecordIO(str(tmp_path))
    for name in ("a.rec", "b.rec"):
        shutil.copyfile(GOLDEN / "train.rec", tmp_path / name)
    with pytest.raises(InputError, match=r"found: a\.rec, b\.rec"):
        RecordIO(str(tmp_path))
    (tmp_path / "train.rec").touch()
    with pytest.raises(InputError, match=r"train\.rec is empty"):
        RecordIO(str(tmp_path))


def test_labels_beyond_what_a_float_can_count_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr(recordio_images, "LARGEST_EXACT", 5)
    source = RecordIO(str(GOLDEN))
    assert source.labels.tolist() == [0, 1, 1, 1, 2, 2]
    np.testing.assert_array_equal(source.places.keys, range(1, 7))


def test_the_fingerprint_changes_with_the_files(tmp_path):
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    before = RecordIO(str(tmp_path)).fingerprint()
    assert RecordIO(str(tmp_path)).fingerprint() == before
    (tmp_path / "train.idx").unlink()
    assert RecordIO(str(tmp_path)).fingerprint() != before
