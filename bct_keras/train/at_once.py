"""Looks for what a training lacks before TensorFlow is imported, which takes seconds."""

from pathlib import Path

from bct_keras import stores
from bct_keras.errors import InputError, option


def check(data: str | None, source: str | None) -> None:
    """Raises where the data set is not named, or is not there.

    Args:
        data: The data set.
        source: What it is made from, where none is given.
    """
    if not data and not source:
        raise no_data()
    if data and not stores.is_remote(data) and not Path(data).is_dir():
        raise InputError(f"{data}: no such folder (a data set was expected)")


def no_data() -> InputError:
    """Returns the error of a training for which no data set is named."""
    return InputError(
        f"{option('data')} is needed, or {option('source')} to make a data set from; "
        f"{option('help')} tells what they take"
    )
