"""Reads NumPy's files.

Nothing is allocated before an array's shape has been held against the bytes that are there.
"""

import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bct_keras.errors import InputError
from bct_keras.untrusted.archives import opened_archive
from bct_keras.untrusted.reading import opened, reason_of, sha256_of

# Booleans, whole numbers, real numbers, and texts as bytes or characters: nothing that is made by
# running code.
PLAIN_KINDS = "biufSU"
READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
BYTES_OF_LENGTH = {(1, 0): 2, (2, 0): 4}
LONGEST_HEADER = 10_000  # bytes; NumPy takes no longer one either
SMALL = 1 << 16  # bytes: so much is read at once, which costs less than to map it
LONGEST_TEXT = 255  # bytes, of a table's column: a file's name has no more
LAST_CHARACTER, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)


@dataclass(frozen=True)
class Header:
    """What stands in front of an array's values."""

    dtype: np.dtype
    shape: tuple[int, ...]
    by_columns: bool  # the first axis runs fastest

    @property
    def size(self) -> int:
        """The bytes that the values take."""
        return self.dtype.itemsize * math.prod(self.shape)

    def array(self, content: bytes) -> np.ndarray:
        """Returns the array of which these are the values."""
        values = np.frombuffer(content, self.dtype)
        if self.by_columns:
            return values.reshape(self.shape[::-1]).T
        return values.reshape(self.shape)


def check_plain(dtype: np.dtype) -> None:
    """Raises where values of this type are more than plain numbers or texts."""
    if dtype.kind not in PLAIN_KINDS or dtype.itemsize == 0:
        raise ValueError(f"it holds values of type {str(dtype)[:40]}, not plain numbers or texts")


def read_header(
    file: BinaryIO, size: int, check: Callable[[np.dtype], None] = check_plain
) -> Header:
    """Returns an array's header; a ValueError tells a fault.

    Args:
        file: It is read from here.
        size: So many bytes are there with the header itself.
        check: Raises where the type is not one that is wanted.
    """
    version = np.lib.format.read_magic(file)
    if version not in READ_HEADER:
        raise ValueError(f"its format {version[0]}.{version[1]} is not read here")
    length = file.read(BYTES_OF_LENGTH[version])
    content = file.read(min(int.from_bytes(length, "little"), LONGEST_HEADER + 1))
    shape, by_columns, dtype = parsed_header(version, length + content)
    check(dtype)
    header = Header(dtype, shape, by_columns and len(shape) > 1)
    there = size - file.tell()
    sides_are_counts = all(type(side) is int and side >= 0 for side in shape)
    if not sides_are_counts or header.size != there:
        raise ValueError(
            f"its header says {dtype} of shape {str(shape)[:60]}, and {there:,} bytes are there"
        )
    return header


@lru_cache(maxsize=64)
def parsed_header(version: tuple[int, int], content: bytes) -> tuple[tuple, bool, np.dtype]:
    """Returns the shape, whether it is by columns, and the type that a header says.

    All files of a data set have one of a few headers, and to parse one takes longer than to open
    its file.
    """
    try:
        return READ_HEADER[version](io.BytesIO(content))
    except Exception as reason:  # an expression of Python, read as one: it may fail in any way
        raise ValueError(f"its header is damaged ({reason_of(reason)})") from None


def open_array(path: str | Path) -> np.ndarray:
    """Returns a .npy file's array, which is only read.

    It stays on the disk and is read where it is looked at, but for a small one.
    """
    with opened(path) as file:
        return array_in(file, path)


def open_known(path: str | Path, sha256: object) -> np.ndarray | None:
    """Returns a .npy file's array, as `open_array` does; None where the file has another sha256."""
    with opened(path) as file:
        if sha256_of(file) != sha256:
            return None
        file.seek(0)
        return array_in(file, path)


def array_in(file: BufferedReader, path: str | Path) -> np.ndarray:
    """Returns the array of an open file; `path` names it in errors."""
    try:
        header = read_header(file, os.fstat(file.fileno()).st_size)
        if header.size <= SMALL:
            return header.array(file.read(header.size))
        # By the open file: what the path names may have been changed since.
        return np.memmap(
            file,  # pyright: ignore
            header.dtype,
            mode="r",
            offset=file.tell(),
            shape=header.shape,
            order="F" if header.by_columns else "C",
        )
    except (ValueError, OSError) as reason:
        raise InputError(f"{path} cannot be read as an array: {reason_of(reason)}") from None


def rows_in(
    content: bytes, path: str | Path, text: str, columns: Sequence[tuple]
) -> tuple[np.ndarray, int]:
    """Returns the rows of a .npy file, a structured array, and the byte where the first one lies.

    Args:
        content: Of the file.
        path: Names it in errors.
        text: The name of the first column, which holds texts as bytes, of whatever length.
        columns: The others, as NumPy names them.
    """

    def check(dtype: np.dtype) -> None:
        width = dtype[0].itemsize if dtype.names and dtype[0].kind == "S" else 0
        if not 0 < width <= LONGEST_TEXT or dtype != np.dtype([(text, f"S{width}"), *columns]):
            raise ValueError(
                f"its columns are not {text}, {', '.join(each[0] for each in columns)}"
            )

    try:
        file = io.BytesIO(content)
        header = read_header(file, len(content), check)
        if len(header.shape) != 1:
            raise ValueError(f"it has {len(header.shape)} axes, not one")
        return np.frombuffer(content, header.dtype, offset=file.tell()), file.tell()
    except ValueError as reason:
        raise InputError(f"{path} cannot be read as a table: {reason_of(reason)}") from None


def load_array(path: str | Path) -> np.ndarray:
    """Returns the same array in memory."""
    return np.array(open_array(path))


def read_arrays(
    path: str | Path, what: str, needed: tuple[str, ...], wanted: tuple[str, ...] = ()
) -> dict:
    """Returns the arrays of a .npz file that are needed, and what is there of those wanted.

    Args:
        path: The file.
        what: What the file is to be, for errors: "embeddings with their ids".
        needed: Names of arrays that have to be there.
        wanted: Names of arrays that may be there.
    """
    with opened_archive(path, f"cannot be read as {what}") as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        missing = [name for name in needed if name not in members]
        if missing:
            there = ", ".join(list(members)[:8]) or "nothing"
            raise InputError(
                f"{path} cannot be read as {what}: it has no `{missing[0]}`; there is {there}"
            )
        found = {}
        for name in (*needed, *wanted):
            if name not in members:
                continue
            member = archive.getinfo(members[name])
            with archive.open(member) as file:
                header = read_header(file, member.file_size)  # pyright: ignore[reportArgumentType]
                content = file.read(header.size)
            if len(content) != header.size:
                raise ValueError(f"`{name}` is cut off")
            found[name] = header.array(content)
        return found


def texts(values: np.ndarray, where: object) -> list[str]:
    """Returns an array of texts as Python's.

    Raises where one of them cannot be written down anywhere.
    """
    if values.dtype.kind == "S":
        try:
            return [text.decode("utf-8") for text in values.tolist()]
        except UnicodeDecodeError as reason:
            raise InputError(f"{where}: the text {reason.object[:60]!r} is not UTF-8") from None
    # NumPy keeps a text as its characters' numbers.
    native = values.astype(values.dtype.newbyteorder("="))
    numbers = np.ascontiguousarray(native).view(np.uint32)
    first, last = SURROGATES
    is_surrogate = (numbers >= first) & (numbers <= last)
    if (is_surrogate | (numbers > LAST_CHARACTER)).any():
        raise InputError(f"{where}: a text holds what is no character")
    return values.tolist()
