"""Reads text files of whole numbers, a row a line, at tens of millions of numbers a second."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bct_keras.errors import InputError
from bct_keras.untrusted.reading import read_bytes

CHUNK_BYTES = 1_000_000  # what is made of it stays in the cache
MAXIMUM_DIGITS = 9  # fits 32 bits
NEWLINE, SPACE, TAB = ord("\n"), ord(" "), ord("\t")


def read_integer_table(path: Path, columns: int) -> list[np.ndarray]:
    """Reads the columns [rows] int32 of a file of whole numbers; an error names the line."""
    content = read_bytes(path)
    if not content.strip():
        raise InputError(f"{path} is empty")
    text = np.frombuffer(content, np.uint8)
    pieces = pieces_at_line_ends(text)
    # NumPy leaves Python's lock while it computes, so two threads use two cores.
    with ThreadPoolExecutor(2) as pool:
        parsed = list(pool.map(lambda piece: parse_canonical(piece, columns), pieces))
    lines_before, tables = 0, []
    for piece, table in zip(pieces, parsed, strict=True):
        if table is None:
            table = parse_line_by_line(piece, columns, path, lines_before)
        tables.append(table)
        lines_before += int(np.count_nonzero(piece == NEWLINE))
    return [np.concatenate(column) for column in zip(*tables, strict=True)]


def pieces_at_line_ends(text: np.ndarray) -> list[np.ndarray]:
    """Returns the text in pieces of about CHUNK_BYTES, each of whole lines."""
    pieces, start = [], 0
    while start < len(text):
        end = min(start + CHUNK_BYTES, len(text))
        while end < len(text) and text[end - 1] != NEWLINE:
            end += 1
        pieces.append(text[start:end])
        start = end
    return pieces


def parse_canonical(text: np.ndarray, columns: int) -> list[np.ndarray] | None:
    """Returns the columns of a text in the plainest form, and None of any other text.

    Its lines are just so many numbers, with one blank between two.
    """
    if text[-1] != NEWLINE:
        text = np.append(text, np.uint8(NEWLINE))
    # Below "0" it wraps round, so that no other byte is below 10.
    digits = text - np.uint8(ord("0"))
    ends = np.flatnonzero(digits > 9)
    if len(ends) % columns:
        return None
    lengths = np.diff(ends, prepend=-1).reshape(-1, columns) - 1
    ends = ends.reshape(-1, columns)
    between = text[ends[:, :-1]]
    shaped = (
        lengths.min() > 0
        and lengths.max() <= MAXIMUM_DIGITS
        and (text[ends[:, -1]] == NEWLINE).all()
        and ((between == SPACE) | (between == TAB)).all()
    )
    if not shaped:
        return None
    found = []
    for column in range(columns):
        found.append(numbers(digits, ends[:, column], lengths[:, column]))
    return found


def numbers(digits: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the numbers [numbers] int32.

    Args:
        digits: The digits of the whole text.
        ends: [numbers] the place behind each one's last digit.
        lengths: [numbers] how many digits each has.
    """
    value = digits[ends - 1].astype(np.int32)
    for place in range(1, int(lengths.max())):
        # A shorter number has no digit here: what is read in its stead is multiplied by 0.
        has_digit = lengths > place
        at = np.where(has_digit, ends - 1 - place, 0)
        value += digits[at] * (has_digit * np.int32(10**place))
    return value


def parse_line_by_line(
    text: np.ndarray, columns: int, path: Path, lines_before: int
) -> list[np.ndarray]:
    """Returns the columns for any blanks and line ends.

    An error names the line that cannot be read.
    """
    rows = []
    for number, line in enumerate(text.tobytes().split(b"\n"), start=lines_before + 1):
        cells = line.split()
        if not cells:
            continue
        good = [cell for cell in cells if cell.isdigit() and len(cell) <= MAXIMUM_DIGITS]
        if len(cells) != columns or len(good) != columns:
            shown = line.decode(errors="replace").strip()[:60]
            raise InputError(
                f"{path}, line {number}: {columns} whole numbers were expected, not '{shown}'"
            )
        rows.append([int(cell) for cell in cells])
    return list(np.array(rows, np.int32).reshape(-1, columns).T)
