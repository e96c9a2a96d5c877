"""Looks for what a training lacks before TensorFlow is imported, which takes seconds."""

from pathlib import Path

from bct_keras import stores
from bct_keras.errors import InputError, option


def check(workdir: str | None, data: str | None, source: str | None) -> None:
    """Raises where a folder that is needed is not named, or is not there.

    Args:
        workdir: The run's folder.
        data: The data set.
        source: What it is made from, where none is given.
    """
    if not workdir:
        raise InputError(f"{option('workdir')} is needed; {option('help')} tells what it takes")
    if not data and not source:
        raise InputError(
            f"{option('data')} is needed, or {option('source')} to make a data set from; "
            f"{option('help')} tells what they take"
        )
    if data and not stores.is_remote(data) and not Path(data).is_dir():
        raise InputError(f"{data}: no such folder (a data set was expected)")
