"""Arrays and archives that claim more than they hold, or hold what is no plain array."""

import io
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bct_keras.encoders import load_encoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError
from bct_keras.train.old_head import read_head
from bct_keras.untrusted import archives, arrays

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
IDS = np.array(["a", "b", "c"])


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text: str, version: int = 1) -> bytes:
    encoded = text.encode("latin-1") + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(encoded))
    return b"\x93NUMPY" + bytes((version, 0)) + length + encoded


def npz(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_encoder(path)
    (line,) = str(error.value).split("\n")
    assert line.startswith(str(path))
    return line


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("ids", [IDS, IDS.astype(np.bytes_), IDS.astype(">U9")])
@pytest.mark.parametrize(
    "rows", [ROWS, ROWS.astype(">f8"), np.asfortranarray(ROWS), ROWS.astype(np.int16)]
)
def test_what_numpy_writes_is_read(tmp_path, save, ids, rows):
    save(tmp_path / "old.npz", embeddings=rows, ids=ids)
    encoder = StoredEmbeddings(tmp_path / "old.npz")
    np.testing.assert_array_equal(encoder.embeddings, ROWS)
    assert encoder.row_of == {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        np.asfortranarray(ROWS),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.float32(1),
        IDS,
        ROWS > 2,
    ],
)
def test_an_array_on_the_disk_is_as_numpy_saved_it(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    for found in (arrays.open_array(tmp_path / "x.npy"), arrays.load_array(tmp_path / "x.npy")):
        assert (found.dtype, found.shape) == (np.asarray(array).dtype, np.shape(array))
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "EOF"),
        (b"no array", "magic string"),
        (b"\x93NUMPY\x03\x00", "its format 3.0 is not read here"),
        (npy(ROWS)[:-1], "its header says float32 of shape (3, 2), and 23 bytes are there"),
        (npy(ROWS) + b"x", "25 bytes are there"),
        (npy(np.array([{}], object)), "it holds values of type object, not plain numbers or texts"),
        (npy(np.zeros(1, "M8[s]")), "not plain numbers or texts"),
        (npy(np.zeros(1, [("a", "f4")])), "not plain numbers or texts"),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9999)}"),
            "0 bytes are there",
        ),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4)}") + bytes(16),
            "16 bytes are there",
        ),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4)}") + bytes(16),
            "16 bytes are there",
        ),
        (header("(" * 5000), "its header is damaged"),
        (header("-" * 9000 + "1"), "its header is damaged"),
        (
            header("{'descr': '<U0', 'fortran_order': False, 'shape': (9,)}"),
            "not plain numbers or texts",
        ),
        (header("__import__('os').system('false')"), "its header is damaged"),
        (header(" " * 100_000, version=2), "its header is damaged"),
    ],
)
def test_a_damaged_array_is_told_before_memory_is_taken(tmp_path, content, said):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError) as error:
        arrays.open_array(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(error.value).startswith(f"{path} cannot be read as an array: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert peak < 20e6
    assert "cannot be read as embeddings with their ids: " in refused(
        npz(tmp_path / "x.npz", embeddings=content, ids=npy(IDS))
    )


def test_a_small_archive_that_fills_the_memory(tmp_path):
    """Writes 2 GB of zeros, which are 2 MB in a zip."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("embeddings.npy", "w") as member,
    ):
        member.write(header("{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 500)}"))
        for _ in range(2000):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 12e6
    tracemalloc.start()
    assert "no honest file's" in refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_how_numpy_never_packs(tmp_path, compression):
    path = npz(tmp_path / "x.npz", compression, embeddings=npy(ROWS), ids=npy(IDS))
    assert "'embeddings.npy' is encrypted or packed in an unknown way" in refused(path)


def test_two_members_of_one_name(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ids.npy", npy(IDS))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("ids.npy", npy(IDS))
    assert "two of its members have the same name" in refused(path)


def test_a_list_of_members_that_is_longer_than_any(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(40_000):
            file.writestr(f"{number}", b"")
    assert "its list of members has more than 1,048,576 bytes" in refused(path)


def test_what_is_missing_is_named(tmp_path):
    assert "it has no `ids`; there is embeddings" in refused(
        npz(tmp_path / "x.npz", embeddings=npy(ROWS))
    )
    with pytest.raises(
        InputError, match=r"lwf needs the old encoder's head: .*x.npz .* has no `class_weights`"
    ):
        read_head(tmp_path / "x.npz", 2)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (np.array([b"a", b"\xff", b"c"]), r"the text b'\\xff' is not UTF-8"),
        (np.array(["a", "b", "\ud800"]), "a text holds what is no character"),
        (
            np.array([0x61, 0x110000, 0x63], np.uint32).view("<U1"),
            "a text holds what is no character",
        ),
        (np.array([1, 2, 3]), "`ids` .n. texts"),
    ],
)
def test_ids_that_are_no_texts(tmp_path, ids, said):
    path = npz(tmp_path / "x.npz", embeddings=npy(ROWS), ids=npy(ids))
    assert re.search(said, refused(path))


@pytest.mark.parametrize("rows", [IDS, ROWS.astype("S4"), ROWS[:, :0], ROWS[0]])
def test_embeddings_that_are_none(tmp_path, rows):
    assert "`embeddings` has to be" in refused(
        npz(tmp_path / "x.npz", embeddings=npy(rows), ids=npy(IDS))
    )


def test_an_archive_with_any_byte_changed(tmp_path):
    path = npz(tmp_path / "x.npz", embeddings=npy(ROWS), ids=npy(IDS))
    content = bytearray(path.read_bytes())
    told = []
    for place in range(len(content)):
        changed = content.copy()
        changed[place] ^= 0x55
        path.write_bytes(changed)
        try:
            load_encoder(path)
        except InputError as error:
            told.append(str(error))
    assert all("x.npz" in line for line in told)
    assert len(told) > len(content) / 2  # the others are dates and the like: nothing goes by them


def test_any_fault_while_an_archive_is_used_is_told(tmp_path):
    path = npz(tmp_path / "x.npz", ids=npy(IDS))
    with (
        pytest.raises(
            InputError, match=r"x.npz is no archive: KeyError|x.npz is no archive: .*missing"
        ),
        archives.opened_archive(path, "is no archive") as archive,
    ):
        archive.read("missing")
