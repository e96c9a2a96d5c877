"""Looks through Keras's files before it builds what they describe, which may fill the memory."""

from pathlib import Path
from typing import Any

from bct_keras.untrusted.archives import opened_archive
from bct_keras.untrusted.json_files import LARGEST, value_of

FAULT = "cannot be loaded as a Keras encoder"
TEXTS = ("config.json", "metadata.json")
LARGEST_NUMBER = 1 << 24  # of units, channels or pixels
NO_SIZES = ("seed", "_id")  # what stands in the names of numbers that may be larger


def check(path: Path) -> None:
    """Raises where a file is no archive, claims too much, or describes too large a layer."""
    with opened_archive(path, FAULT) as archive:
        there = {member.filename: member for member in archive.infolist()}
        for name in TEXTS:
            if name not in there:
                continue
            if there[name].file_size > LARGEST:
                raise ValueError(f"its {name} has more than {LARGEST:,} bytes")
            check_text(name, archive.read(name))


def check_weights(path: Path) -> None:
    """Raises where a .weights.h5 file says that an array is larger than the whole file.

    Keras stores them as they are, and makes room for what the file says.
    """
    import h5py  # takes a while, and few need it

    size = path.stat().st_size

    def check_array(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.nbytes > size:
            raise ValueError(
                f"'{name}' is to have {item.nbytes:,} bytes, and the file has {size:,}"
            )

    with h5py.File(path, "r") as file:
        file.visititems(check_array)


def check_text(name: str, content: bytes) -> None:
    """Raises where a text of the archive is no JSON, or has too large a number."""
    try:
        check_numbers(value_of(content))
    except ValueError as reason:
        raise ValueError(f"its {name}: {reason}") from None


def check_numbers(config: Any) -> None:
    """Raises where a number is too large; how deep values lie in each other is limited."""
    if not isinstance(config, dict | list):
        return
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, dict | list):
            check_numbers(value)
            continue
        is_size = type(value) is int and not any(each in str(key) for each in NO_SIZES)
        if is_size and value > LARGEST_NUMBER:
            raise ValueError(f"'{key}' of a layer is {value:,}")
