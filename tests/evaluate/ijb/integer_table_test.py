from pathlib import Path

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.evaluate.ijb import integer_table
from bct_keras.evaluate.ijb.integer_table import read_integer_table


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("chunk_bytes", [1_000_000, 1000, 1])
def test_numbers_are_those_that_were_written(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr(integer_table, "CHUNK_BYTES", chunk_bytes)
    table = np.random.default_rng(0).integers(0, 10 ** np.array([1, 5, 9]), (2000, 3))
    path = written(tmp_path, "".join(f"{a} {b} {c}\n" for a, b, c in table))
    np.testing.assert_array_equal(np.stack(read_integer_table(path, 3), 1), table)


@pytest.mark.parametrize(
    "text", ["1 2\n3 4", "1\t2\n3\t4\n", "1 2\r\n3 4\r\n", " 1  2 \n\n3 4\n\n", "01 2\n3 004\n"]
)
def test_blanks_and_line_ends_may_differ(tmp_path, text):
    first, second = read_integer_table(written(tmp_path, text), 2)
    assert (first.tolist(), second.tolist()) == ([1, 3], [2, 4])


@pytest.mark.parametrize("chunk_bytes", [1_000_000, 8])
@pytest.mark.parametrize(
    "line",
    [
        "3",
        "3 4 5",
        "3 x",
        "3 4.5",
        "3 -4",
        "3 4;",
        "3 12345678901234567890",
        "\x00 4",
        "é 4",
        "3,4",
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, monkeypatch, chunk_bytes, line):
    monkeypatch.setattr(integer_table, "CHUNK_BYTES", chunk_bytes)
    path = written(tmp_path, "1 2\n" * 7 + line + "\n" + "5 6\n" * 7)
    with pytest.raises(InputError, match=r"table\.txt, line 8: 2 whole numbers were expected"):
        read_integer_table(path, 2)


def test_rows_that_run_on_over_line_ends_are_refused(tmp_path):
    # Six numbers are three rows of two only if one does not look at the lines.
    with pytest.raises(InputError, match="line 1"):
        read_integer_table(written(tmp_path, "1\n2 3\n4 5 6\n"), 2)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="empty"):
        read_integer_table(written(tmp_path, ""), 3)
