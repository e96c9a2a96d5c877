"""RecordIO's `.idx` file, which says where each record of the `.rec` file starts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras.errors import InputError
from bct_keras.untrusted.reading import read_bytes


@dataclass(frozen=True)
class Places:
    """Where records lie, in the order of their keys."""

    keys: np.ndarray  # [records] int64
    starts: np.ndarray
    ends: np.ndarray

    def span(self, row: int) -> tuple[int, int]:
        """Returns where a record starts and ends."""
        return self.starts.item(row), self.ends.item(row)


def places_by_index(path: Path, file_size: int) -> Places:
    """Returns where the records of an index lie.

    Each is taken to reach up to the next one of the index, which reading it checks.
    """
    keys, starts = read_index(path)
    by_key = np.argsort(keys, kind="stable")
    keys = keys[by_key]
    starts = starts[by_key]
    in_file = np.sort(starts)
    repeated_key = np.flatnonzero(np.diff(keys) == 0)
    repeated_start = np.flatnonzero(np.diff(in_file) == 0)
    advice = "remove it, and the .rec file is searched for records"
    if len(repeated_key):
        raise InputError(f"{path} has the key {keys[repeated_key[0]]} twice; {advice}")
    if len(repeated_start):
        place = in_file[repeated_start[0]]
        raise InputError(f"{path} has two keys for the record at byte {place}; {advice}")
    if in_file[0] != 0 or in_file[-1] >= file_size:
        raise InputError(
            f"{path}: its records start at bytes {in_file[0]} to {in_file[-1]} of a "
            f"file of {file_size} bytes, which should be 0 to less than that; {advice}"
        )
    following = np.searchsorted(in_file, starts) + 1
    ends = np.append(in_file, file_size)[following]
    return Places(keys, starts, ends)


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys and offsets of an index, whose lines are key, tab and offset."""
    text = read_bytes(path).replace(b"\r\n", b"\n")
    if not text.endswith(b"\n"):
        text += b"\n"
    separators = text.translate(None, b"0123456789")
    lines = len(separators) // 2
    numbers = np.empty(0, np.int64)
    if separators == b"\t\n" * lines:
        numbers = np.fromstring(text, np.int64, sep=" ")
    if not len(numbers) or len(numbers) != len(separators):
        raise InputError(f"{path}, line {first_bad_line(text)} is not of the form key, tab, offset")
    return numbers[::2], numbers[1::2]


def first_bad_line(text: bytes) -> int:
    """Returns the number of the first line that is not key, tab and offset."""
    lines = text.split(b"\n")
    for number, line in enumerate(lines, 1):
        fields = line.split(b"\t")
        if len(fields) != 2:
            return number
        for field in fields:
            if not field.isdigit() or len(field) >= 19:
                return number
    return len(lines)
