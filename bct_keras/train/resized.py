"""Says how to prepare a data set again, at the size that a network to start from takes."""

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from bct_keras import artefacts, specs
from bct_keras.data import around
from bct_keras.data.records import KIND
from bct_keras.errors import InputError, option
from bct_keras.prepare.sources import SOURCES
from bct_keras.printable import command_line
from bct_keras.train.fits import OtherSizeError
from bct_keras.untrusted.json_files import field

SIZE = "image_size"  # of a source
# What of a data set's manifest is an option of `prepare`, besides the source and the split.
OTHERS = {"on_bad": "fail", "seed": 0, "limit": None}


@contextlib.contextmanager
def telling(data: Path | None) -> Iterator[None]:
    """Adds to an error on the images' size the command that prepares this data set at the other.

    Args:
        data: The data set to train on, or a part of one; None where it is not made yet.
    """
    try:
        yield
    except OtherSizeError as error:
        command = again(data, error.side) if data else None
        if not command:
            raise
        assert data
        whole = around.whole_of(data)
        part = free_place(whole, error.side) / data.relative_to(whole)
        raise InputError(
            error.args[0], f"Prepare it at that size, and give {option('data', part)}: {command}"
        ) from None


def again(data: Path, side: int) -> str | None:
    """Returns the command that prepares a data set at another size; None where that is not known.

    Args:
        data: The data set, or a part of one.
        side: Of the images, in pixels.
    """
    whole = around.whole_of(data)
    made_from = artefacts.read_manifest(whole, KIND)["made_from"]
    where = whole / artefacts.MANIFEST
    source = resized(field(made_from, "source", str, where), side)
    if source is None:
        return None
    flags = {"source": source, "split": field(made_from, "split", str, where)}
    for name, default in OTHERS.items():
        value = made_from.get(name)
        if value not in (None, default):
            flags[name] = str(value)
    flags["out"] = str(free_place(whole, side))
    return " ".join(command_line("prepare", flags))


def resized(source: str, side: int) -> str | None:
    """Returns the spec of a source with another size; None where it has none.

    Example:
        >>> resized("folder(photos, 64)", 28)
        'folder(photos, 28)'
    """
    found = specs.parse(source)
    if found.name not in SOURCES:
        return None
    names = list(inspect.signature(SOURCES[found.name]).parameters)
    if SIZE not in names:
        return None
    values = list(found.positional)
    keywords = dict(found.keywords)
    place = names.index(SIZE)
    if place < len(values):
        values[place] = str(side)
    else:
        keywords[SIZE] = str(side)
    given = [*values, *(f"{name}={value}" for name, value in keywords.items())]
    return f"{found.name}({', '.join(given)})"


def free_place(whole: Path, side: int) -> Path:
    """Returns a folder beside a data set in which nothing lies."""
    place = whole.with_name(f"{whole.name}-{side}")
    number = 2
    while not artefacts.is_empty(place):
        place = whole.with_name(f"{whole.name}-{side}-{number}")
        number += 1
    return place
