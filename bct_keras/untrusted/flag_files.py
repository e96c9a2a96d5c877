"""Looks through flag files before absl reads them.

absl waits for a pipe, and reads a device until memory is full. Only `command` uses this, so its
messages may speak of flags.
"""

from collections.abc import Iterator
from pathlib import Path

from bct_keras.errors import InputError
from bct_keras.printable import line as shown
from bct_keras.untrusted.reading import read_text

LARGEST = 1 << 20  # bytes
LONGEST_NAME = 100  # of a flag
MOST_FILES = 100  # named by each other, all of them counted


def check(arguments: list[str]) -> None:
    """Raises where a file that these arguments name cannot be read as flags.

    So it does for files that such a file names.
    """
    check_names(arguments, "the command line")
    waiting: list[tuple[str, tuple[Path, ...]]] = [(name, ()) for name in named_in(arguments)]
    count = 0
    while waiting:
        name, inside = waiting.pop()
        count += 1
        if count > MOST_FILES:
            raise InputError(f"{name}: more than {MOST_FILES} flag files name each other")
        path = opened_path(name, inside)
        lines = read_text(path, LARGEST).split("\n")
        for number, text in enumerate(lines, 1):
            text = text.rstrip("\r").replace("\t", " ")
            if shown(text) != text:
                raise InputError(f"{path}, line {number}: this is no text of flags: {text[:60]}")
        check_names(lines, path)
        for text in lines:
            for each in named_in([text.strip()]):
                waiting.append((each, (*inside, path.resolve())))


def check_names(arguments: list[str], where: object) -> None:
    """Raises for a name so long that no flag has it.

    absl looks for a flag that is like it, and goes deeper with each letter.
    """
    for argument in arguments:
        name = argument.strip().partition("=")[0]
        if name.startswith("-") and len(name) > LONGEST_NAME:
            raise InputError(f"{where}: there is no flag {name[:60]}...")


def opened_path(name: str, inside: tuple[Path, ...]) -> Path:
    """Returns the file's path; raises where it names itself.

    absl would warn of that and go on.
    """
    path = Path(name).expanduser()
    if path.resolve() in inside:
        raise InputError(f"{path} names itself as a --flagfile, by way of {inside[-1]}")
    return path


def named_in(arguments: list[str]) -> Iterator[str]:
    """Yields the flag files that arguments name, in the ways in which absl takes them."""
    following = False
    for argument in arguments:
        if following:
            yield argument
        following = argument in ("--flagfile", "-flagfile")
        for start in ("--flagfile=", "-flagfile="):
            if argument.startswith(start):
                yield argument.removeprefix(start).strip()
