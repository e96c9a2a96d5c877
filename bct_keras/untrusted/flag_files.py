"""Reads flag files in place of absl.

absl waits for a pipe, reads a device until memory is full, and knows nothing of the files that come
with the package. Only `command` uses this, so its messages may speak of flags.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from bct_keras import shipped
from bct_keras.errors import InputError
from bct_keras.printable import line as shown
from bct_keras.untrusted.reading import read_text

LARGEST = 1 << 20  # bytes
LONGEST_NAME = 100  # of a flag
ALONE = ("--flagfile", "-flagfile")  # the file's name may be the next argument
MOST_FILES = 100  # named by each other, all of them counted


def expanded(arguments: list[str]) -> list[str]:
    """Returns the arguments with the lines of each flag file in its place, as absl would read it.

    A file that is not in the working folder is looked for among those that come with the package,
    wherever it is named: on the command line, or in another file.

    Raises where a file cannot be read as flags.
    """
    return Reader().read(arguments)


class Reader:
    """Reads flag files, and those that they name, counts them, and knows where each flag stood."""

    def __init__(self):
        self.count = 0
        self.places: dict[str, str] = {}  # the file and the line, by what stands there

    def read(self, arguments: list[str]) -> list[str]:
        """Returns what `expanded` of this module does."""
        check_names(arguments, "the command line")
        return list(self.expanded(arguments, ()))

    def place_of(self, said: str) -> str:
        """Returns the file and line of the flag that an error names, with what follows them.

        Args:
            said: The flag's name, or what is said of its value: "--dims=x: a number is needed".
        """
        for text, place in self.places.items():
            given = text.lstrip("-")
            name, _, _ = given.partition("=")
            if said == f"--{name}" or said.startswith(f"--{given}:"):
                return f"{place}: "
        return ""

    def expanded(self, arguments: list[str], inside: tuple[Path, ...]) -> Iterator[str]:
        """Yields the arguments, with what is in a flag file in its place.

        Args:
            arguments: Those of the command line, or the lines of a file.
            inside: The files that they stand in.
        """
        waiting = iter(arguments)
        for argument in waiting:
            if argument == "--":  # the end of the flags
                yield argument
                yield from waiting
                return
            name = named_in(argument)
            if argument in ALONE:
                name = next(waiting, None)
            if name is None:
                yield argument
            else:
                yield from self.lines(name, inside)

    def lines(self, name: str, inside: tuple[Path, ...]) -> Iterator[str]:
        """Yields the flags of a file."""
        self.count += 1
        if self.count > MOST_FILES:
            raise InputError(f"{name}: more than {MOST_FILES} flag files name each other")
        path = opened_path(name, inside)
        found = []
        for number, text in enumerate(read_text(path, LARGEST).split("\n"), 1):
            text = text.rstrip("\r").replace("\t", " ")
            if shown(text) != text:
                raise InputError(f"{path}, line {number}: this is no text of flags: {text[:60]}")
            text = text.strip()
            if text and not text.startswith(("#", "//")):
                found.append(text)
                self.places.setdefault(text, f"{path}, line {number}")
        check_names(found, path)
        yield from self.expanded(found, (*inside, resolved(path)))


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
    path = shipped.flag_file(name)
    if resolved(path) in inside:
        raise InputError(f"{path} names itself as a --flagfile, by way of {inside[-1]}")
    return path


def resolved(path: Path) -> Path:
    """Returns the path without links; `Path.resolve` fails where they go round in a circle."""
    return Path(os.path.realpath(path))


def named_in(argument: str) -> str | None:
    """Returns the flag file that an argument names, as in --flagfile=x; None where it names none.

    >>> named_in("-flagfile= x "), named_in("--dims=3")
    ('x', None)
    """
    for start in ALONE:
        if argument.startswith(f"{start}="):
            return argument.removeprefix(f"{start}=").strip()
    return None
