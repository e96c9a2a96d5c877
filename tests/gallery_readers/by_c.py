"""The reader in C, compiled with every check that the compiler has."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gallery_readers.answers import Asked, by_lines

SOURCE = Path(__file__).parent / "reader.c"
CHECKED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FAST = ("-O3", "-march=native")


def compiled(folder: Path, options: tuple[str, ...]) -> Path:
    """Returns the program; skips the test where there is no compiler."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler (cc)")
    program = folder / "reader"
    strict = ("-std=c99", "-Wall", "-Wextra", "-Werror")
    command = ["cc", *strict, *options, str(SOURCE), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("the C compiler comes without its sanitizers")
    assert done.returncode == 0, done.stderr
    return program


def by_c(program: Path, files: list[bytes], asked: list[Asked], top: int) -> list[dict[str, Any]]:
    """Returns what the reader in C answers to each file."""
    parts = [struct.pack("<I", len(asked)), *(each.packed() for each in asked)]
    for file in files:
        parts += [struct.pack("<I", len(file)), file]
    command = [str(program), str(top)]
    done = subprocess.run(command, input=b"".join(parts), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    answers = done.stdout.decode().split("\n\n")
    return [by_lines(answer.split("\n")) for answer in answers[: len(files)]]
