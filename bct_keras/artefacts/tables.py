"""Tables beside manifests: what a manifest would say of each of very many files, in columns.

A table is a .npy file with a row for each shard. The manifest says its size and its sha256: so a
manifest is small, and whoever sees it sees a table that is whole. Of both there are copies.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import stores
from bct_keras.artefacts.manifests import COPY, MAKERS, TABLE, file_sha256
from bct_keras.artefacts.twins import copy
from bct_keras.errors import InputError
from bct_keras.untrusted import arrays
from bct_keras.untrusted.json_files import field
from bct_keras.untrusted.reading import read_bytes

LARGEST_TABLE = 1 << 30  # bytes: 14 million shards, in full ones more than 100 billion images
LONGEST_HEADER = 1 << 10  # bytes
BYTES_OF_DIGEST = 32
DIGEST = ("u1", (BYTES_OF_DIGEST,))  # the type of a column of sha256
# Characters of a shard's name, the first of which is a letter or a digit.
LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHARACTERS = LETTERS + b"._-"
HEXADECIMAL = re.compile(r"[0-9a-f]{64}", re.ASCII)
Columns = Sequence[tuple]  # as NumPy names the fields of a structured array


class TableError(InputError):
    """Says that a table is not what its manifest says, and what mends it."""


@dataclass(frozen=True)
class Table:
    """The rows of a table, and where they lie in its file."""

    path: Path
    rows: np.ndarray  # [shards], structured
    start: int  # byte of the first row

    def where(self, number: int) -> str:
        """Returns how an error names a row."""
        byte = self.start + number * self.rows.dtype.itemsize
        return f"{self.path}, row {number + 1:,} at byte {byte:,}"


class Digests:
    """A column of sha256 that is filled in any order."""

    def __init__(self, count: int):
        self.content = bytearray(count * BYTES_OF_DIGEST)
        self.left = count

    def put(self, number: int, sha256: object, where: object) -> None:
        """Puts the sha256 of a file, which `where` names in errors."""
        start = number * BYTES_OF_DIGEST
        self.content[start : start + BYTES_OF_DIGEST] = digest_of(sha256, where)
        self.left -= 1

    def column(self) -> np.ndarray:
        """Returns the column, [count, 32]."""
        assert not self.left, "each row is put once"
        return np.frombuffer(self.content, np.uint8).reshape(-1, BYTES_OF_DIGEST)


def digest_of(sha256: object, where: object) -> bytes:
    """Returns the bytes of a sha256 that is written as a text; raises where it is none."""
    if isinstance(sha256, str) and HEXADECIMAL.fullmatch(sha256):
        return bytes.fromhex(sha256)
    raise InputError(f"{where}: its sha256 is not 64 digits of a hexadecimal number")


def hexadecimal(digests: np.ndarray) -> Iterator[str]:
    """Yields each sha256 of a column as a text."""
    for start in range(0, len(digests), 4096):
        text = digests[start : start + 4096].tobytes().hex()
        for place in range(0, len(text), 2 * BYTES_OF_DIGEST):
            yield text[place : place + 2 * BYTES_OF_DIGEST]


def row_bytes(name_bytes: int, columns: Columns) -> int:
    """Returns how many bytes a row has, with a name of at most so many."""
    return np.dtype([("name", f"S{name_bytes}"), *columns]).itemsize


def check_size(names: Sequence[str], columns: Columns) -> None:
    """Raises where a table of shards of these names could not be read again."""
    longest = max(map(len, names), default=1)
    size = LONGEST_HEADER + len(names) * row_bytes(longest, columns)
    if size > LARGEST_TABLE:
        raise InputError(
            f"the table of {len(names):,} shards would have {size:,} bytes, and one of more than "
            f"{LARGEST_TABLE:,} cannot be read",
            "divide the images over several data sets",
        )


def rows_of(names: np.ndarray, columns: Columns, values: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the rows of a table.

    Args:
        names: [shards] as bytes.
        columns: All but that of the names.
        values: A column for each.
    """
    rows = np.zeros(len(names), [("name", names.dtype), *columns])
    rows["name"] = names
    for column, value in values.items():
        rows[column] = value
    return rows


def write_table(folder: Path, rows: np.ndarray) -> dict[str, Any]:
    """Writes a table and its copy; returns what the manifest is to say of it.

    A file that is there already with just these rows stays.
    """
    with tempfile.TemporaryDirectory(prefix="bct_keras-") as name:
        made = Path(name) / TABLE
        with made.open("wb") as file:
            np.lib.format.write_array(file, rows, version=(1, 0), allow_pickle=False)
        sha256 = file_sha256(made)
        for path in (folder / (TABLE + COPY), folder / TABLE):
            if stores.size_of(path) is None or file_sha256(path) != sha256:
                copy(made, path)
        return {"table": TABLE, "bytes": made.stat().st_size, "sha256": sha256}


def read_table(path: Path, facts: Any, columns: Columns, kind: str) -> Table:
    """Returns the table that a manifest tells of.

    Args:
        path: Of the table.
        facts: What the manifest says of it.
        columns: That it has to have, besides that of the names.
        kind: Of the artefact.
    """
    size = field(facts, "bytes", int, path)
    sha256 = field(facts, "sha256", str, path)
    again = f"the same {MAKERS[kind]} makes it anew"
    there = stores.size_of(path)
    if there is None:
        raise TableError(f"{path}: this table of the shards is missing; {again}")
    if there != size:
        raise TableError(
            f"{path}: this table of the shards ends at byte {there:,} and its manifest says "
            f"{size:,}: it was cut off or changed; remove it, and {again}"
        )
    content = read_bytes(path, LARGEST_TABLE)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TableError(
            f"{path}: this table of the shards is not what its manifest says (sha256); remove it, "
            f"and {again}"
        )
    rows, start = arrays.rows_in(content, path, "name", columns)
    table = Table(path, rows, start)
    check_names(table)
    return table


def check_names(table: Table) -> None:
    """Raises where a shard has no name that a file can have, or that of another one."""
    names = table.rows["name"]
    if not len(names):
        raise InputError(f"{table.path} names no shard")
    characters = np.ascontiguousarray(names).view(np.uint8).reshape(len(names), -1)
    allowed = np.zeros(256, bool)
    allowed[list(CHARACTERS)] = True
    ended = characters == 0  # NumPy fills a text up with them
    wrong = ~(allowed[characters] | ended).all(axis=1)
    wrong |= (ended[:, :-1] & ~ended[:, 1:]).any(axis=1)
    wrong |= ~np.isin(characters[:, 0], list(LETTERS))
    if wrong.any():
        number = int(np.argmax(wrong))
        name = bytes(names[number])[:60]
        raise InputError(f"{table.where(number)}: a shard cannot be called {name!r}")
    number = first_repeated(names)
    if number is not None:
        raise InputError(f"{table.where(number)}: another shard has this name too")


def first_repeated(names: np.ndarray) -> int | None:
    """Returns which row has the name of an earlier one; None where each has its own."""
    if (names[1:] > names[:-1]).all():  # as they are mostly, and then nothing has to be sorted
        return None
    order = np.argsort(names, kind="stable")
    again = np.flatnonzero(names[order[1:]] == names[order[:-1]])
    return int(order[again[0] + 1]) if len(again) else None
