"""What is no file, or a larger one than any, is refused before it is waited for or read."""

import os
import socket
from pathlib import Path

import pytest

from bct_keras.encoders import load_encoder
from bct_keras.errors import BadImageError, InputError
from bct_keras.evaluate.ijb.files import read_names
from bct_keras.evaluate.pairs.pair_sets import read_bin
from bct_keras.gallery import admission
from bct_keras.prepare.sources.recordio import RecordIO
from bct_keras.untrusted.json_files import read_json
from bct_keras.untrusted.reading import check_folder, read_bytes, read_text


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(path.parent)  # its name may have no more than a hundred letters
        listening.bind(path.name)


NO_FILES = {
    "a pipe": make_pipe,
    "a device": make_device,
    "a folder": make_folder,
    "a socket": make_socket,
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    NO_FILES[kind](tmp_path / "x")
    with pytest.raises(InputError, match=rf"x is {kind}, and a file was expected$"):
        read_bytes(tmp_path / "x")


READERS = {
    "old.npz": load_encoder,
    "old.keras": load_encoder,
    "old.onnx": load_encoder,
    "old.tflite": load_encoder,
    "report.json": admission.read_report,
    "set.bin": read_bin,
    "ijbc_name_5pts_score.txt": read_names,
    "train.rec": lambda path: RecordIO(str(path.parent)),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_every_reader_refuses_it(tmp_path, name, kind):
    NO_FILES[kind](tmp_path / name)
    with pytest.raises(InputError, match=f"is {kind}, and a file was expected"):
        READERS[name](tmp_path / name)


def test_a_pipe_inside_a_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    (tmp_path / "variables").mkdir()
    check_folder(tmp_path)
    os.mkfifo(tmp_path / "variables" / "variables.index")
    with pytest.raises(InputError, match=r"variables.index is a pipe"):
        load_encoder(tmp_path)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(BadImageError, match=r"x has more than 4 bytes, which no such file needs"):
        read_bytes(path, 4, BadImageError)


def test_a_file_that_does_not_tell_its_size_is_read_whole():
    assert read_bytes("/proc/self/status").startswith(b"Name:")


def test_a_sparse_file_is_not_read(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="has more than 33,554,432 bytes"):
        read_json(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "No such file or directory"),
        ("a" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_what_the_system_says_is_told_in_a_line(tmp_path, name, said):
    with pytest.raises(InputError, match=f"cannot be read: {said}$"):
        read_bytes(tmp_path / name)


def test_text_is_utf_8(tmp_path):
    (tmp_path / "x").write_bytes("ä".encode() + b"\xff")
    with pytest.raises(InputError, match=r"x, byte 2: this is no text in UTF-8"):
        read_text(tmp_path / "x")
