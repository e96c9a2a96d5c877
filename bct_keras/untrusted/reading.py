"""Reads a file only where it is one.

A device never ends and a pipe never begins, and either would hold the command.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from bct_keras import stores
from bct_keras.errors import InputError

LARGEST = 1 << 30  # bytes, of a file that is read whole
LARGEST_IMAGE = 1 << 28
SMALL = 1 << 16
READ_AT_ONCE = 1 << 20  # so many bytes are made room for, whether they are there or not
KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


@contextlib.contextmanager
def opened(path: str | Path, error: type[InputError] = InputError) -> Iterator[BufferedReader]:
    """Opens a regular file to read.

    Raises `error` for anything else, and for whatever the system says of the file.
    """
    path = stores.here(stores.place(path))
    try:
        check_kind(path, os.stat(path).st_mode, error)
        file = open(path, "rb", opener=at_once)  # noqa: SIM115 -- closed below
    except (OSError, ValueError) as reason:  # a name with a zero byte is a ValueError
        raise error(f"{path} cannot be read: {reason_of(reason)}") from None
    with file:
        check_kind(path, os.fstat(file.fileno()).st_mode, error)
        yield file


def sha256_of(file: BufferedReader) -> str:
    """Returns the sha256 of an open file's whole content."""
    if os.fstat(file.fileno()).st_size <= SMALL:  # where a buffer costs more than what it is for
        content = file.read(SMALL + 1)
        if len(content) <= SMALL:
            return hashlib.sha256(content).hexdigest()
        file.seek(0)  # it has grown
    return hashlib.file_digest(file, "sha256").hexdigest()


def at_once(path: str, flags: int) -> int:
    """Opens without waiting, should a pipe have been put there since it was looked at."""
    return os.open(path, flags | os.O_NONBLOCK)


def check_folder(folder: str | Path) -> None:
    """Raises where anything below the folder is neither a file nor a folder.

    Whatever reads all of it would wait there.
    """
    for path in Path(folder).rglob("*"):
        if not path.is_dir():
            with opened(path):
                pass


def check_kind(path: Path, mode: int, error: type[InputError]) -> None:
    """Raises `error` where a path of this mode is no regular file."""
    if stat.S_ISREG(mode):
        return
    kind = "something else"
    for is_kind, name in KINDS.items():
        if is_kind(mode):
            kind = name
    raise error(f"{path} is {kind}, and a file was expected")


def read_bytes(
    path: str | Path, largest: int = LARGEST, error: type[InputError] = InputError
) -> bytes:
    """Returns the whole file, which may have at most `largest` bytes."""
    if stores.is_remote(path):
        content = stores.read_bytes(stores.place(path), largest + 1)
    else:
        content = read_file(path, largest, error)
    if len(content) > largest:
        raise error(f"{path} has more than {largest:,} bytes, which no such file needs")
    return content


def read_file(path: str | Path, largest: int, error: type[InputError]) -> bytes:
    """Returns the whole file of this machine, or a little more than `largest` bytes of it."""
    with opened(path, error) as file:
        try:
            content = file.read(min(os.fstat(file.fileno()).st_size, largest) + 1)
            while len(content) <= largest and (more := file.read(READ_AT_ONCE)):  # as in /proc
                content += more
        except OSError as reason:
            raise error(f"{path} cannot be read: {reason_of(reason)}") from None
    return content


def read_text(path: str | Path, largest: int = LARGEST) -> str:
    """Returns the whole file as text, which has to be UTF-8."""
    content = read_bytes(path, largest)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as reason:
        raise InputError(f"{path}, byte {reason.start}: this is no text in UTF-8") from None


def reason_of(error: Exception) -> str:
    """Returns what went wrong in a few words, without the path, which the caller says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first_line, _, _ = str(error).strip().partition("\n")
    return first_line[:200] or type(error).__name__
