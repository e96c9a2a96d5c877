"""Paths and files of an S3 server on the loopback."""

import pickle
import sys
from pathlib import Path

import pytest

from bct_keras import stores
from bct_keras.errors import InputError
from bct_keras.processes import FORK
from bct_keras.stores import files, places


def write(path: Path, text: str) -> None:
    with stores.uploading(path) as file:
        file.write_text(text)


def test_a_path_of_this_machine_is_pathlibs():
    assert type(stores.place("a/b")) is type(Path("a/b"))
    assert not stores.is_remote("a/b")
    assert stores.joined(Path("a/b"), "../c") == Path("a/b/../c")


def test_a_path_of_a_store_is_epaths(bucket):
    """Also a canary of what private names of epath are used."""
    assert stores.is_remote(bucket / "x")
    assert str((bucket / "x").with_suffix(".y")).startswith("s3://bucket/")
    assert not bucket.exists()
    write(bucket / "a" / "x.txt", "hello")
    assert bucket.is_dir()
    assert (bucket / "a" / "x.txt").is_file()
    assert pickle.loads(pickle.dumps(bucket / "a")) == bucket / "a"
    assert stores.joined(bucket / "a", "../b/c") == bucket / "b" / "c"


def test_a_clear_line_where_the_cloud_is_not_installed(monkeypatch):
    places.epaths.cache_clear()
    monkeypatch.delitem(sys.modules, "bct_keras.stores.epaths", raising=False)
    monkeypatch.delattr("bct_keras.stores.epaths", raising=False)
    monkeypatch.setitem(sys.modules, "fsspec.config", None)
    with pytest.raises(InputError, match=r"pip install 'bct_keras\[cloud\]'"):
        stores.place("s3://bucket/x")
    places.epaths.cache_clear()


def test_files_are_put_whole_and_read(bucket):
    write(bucket / "a.txt", "hello")
    write(bucket / "b" / "c.txt", "more")
    assert stores.names_in(bucket) == ["a.txt", "b/c.txt"]
    assert stores.size_of(bucket / "a.txt") == 5
    assert stores.size_of(bucket / "none") is None
    assert stores.size_of(bucket / "b") is None
    assert stores.read_bytes(bucket / "a.txt", 4) == b"hell"
    assert stores.here(bucket / "a.txt").read_text() == "hello"
    folder = stores.local(str(bucket))
    assert stores.names_in(folder) == ["a.txt", "b/c.txt"]
    stores.remove_files(bucket, ["a.txt", "gone"])
    stores.remove_folder(bucket / "b")
    assert stores.names_in(bucket) == []


def test_what_was_changed_is_fetched_anew(bucket):
    write(bucket / "a.txt", "one")
    first = stores.here(bucket / "a.txt")
    assert stores.here(bucket / "a.txt") == first
    write(bucket / "a.txt", "two")
    assert stores.here(bucket / "a.txt").read_text() == "two"
    again = stores.here(bucket / "a.txt")
    stores.forget(bucket / "a.txt")
    assert not again.exists()


def test_a_block_that_fails_puts_nothing(bucket):
    def half():
        with stores.uploading(bucket / "a.txt") as file:
            file.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        half()
    assert stores.names_in(bucket) == []


def test_a_forked_process_has_connections_of_its_own(bucket):
    write(bucket / "a.txt", "hello")

    def child():
        assert (bucket / "a.txt").is_file()
        write(bucket / "b.txt", stores.here(bucket / "a.txt").read_text())

    process = FORK.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert stores.here(bucket / "b.txt").read_text() == "hello"


def test_what_is_not_there_is_named(bucket):
    with pytest.raises(InputError, match=r"a.txt: there is nothing there in the store"):
        stores.here(bucket / "a.txt")
    with pytest.raises(InputError, match=r"^s3://nowhere/a.txt: there is nothing there"):
        write(stores.place("s3://nowhere/a.txt"), "hello")


def test_a_copy_that_is_cut_off_is_not_kept(bucket, monkeypatch):
    write(bucket / "a.txt", "hello")
    store = places.store_of(bucket)

    def cut(source, target):
        Path(target).write_text("hel")

    monkeypatch.setattr(store, "get_file", cut)
    with pytest.raises(InputError, match=r"a.txt: 3 of 5 bytes have come from the store"):
        stores.here(bucket / "a.txt")
    monkeypatch.undo()
    assert stores.here(bucket / "a.txt").read_text() == "hello"


class FakeClientError(Exception):
    """As botocore tells of a status."""

    def __init__(self, status: int):
        super().__init__("An error occurred")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def test_which_errors_are_gone_in_a_moment(server):
    is_passing = places.epaths().is_passing
    assert is_passing(FakeClientError(503))
    assert is_passing(FakeClientError(429))
    assert not is_passing(FakeClientError(403))
    assert not is_passing(ValueError())


def test_what_errors_mean():
    assert "look at the credentials" in str(stores.explained(PermissionError("Forbidden")))
    assert "nothing there" in str(stores.explained(FileNotFoundError("x")))
    assert "the same command goes on" in str(stores.explained(OSError(5, "Slow Down")))
    assert stores.explained(ValueError("ours")) is None
    assert files.cache_folder().is_absolute()
