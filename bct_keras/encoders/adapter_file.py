"""Reads an adapter from its .keras file, which may come from anybody."""

from pathlib import Path
from typing import Any

import keras

from bct_keras import stores
from bct_keras.adapters import Adapter
from bct_keras.encoders.encoder import first_sentence
from bct_keras.errors import InputError
from bct_keras.untrusted import keras_files, reading

ADAPTER_FILE = "adapter.keras"  # in a folder that `adapt` has made


def load_adapter(path: str | Path) -> Adapter:
    """Returns the adapter in a file that `adapter.save` has written.

    Args:
        path: A .keras file, or a folder that `adapt` has made.
    """
    path = stores.local(path)
    if path.is_dir():
        path = path / ADAPTER_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such adapter; `adapt` makes one")
    try:
        with reading.opened(path):  # whatever reads it would wait for a pipe
            keras_files.check(path)
        # safe_mode: a file from elsewhere may not bring code along.
        found: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # damaged files have given errors of a dozen classes
        raise InputError(
            f"{path} cannot be loaded as an adapter: {first_sentence(error)}"
        ) from None
    if not isinstance(found, Adapter):
        raise InputError(
            f"{path} holds a {type(found).__name__} and no adapter; `adapt` makes one, and so does"
            " bct_keras.adapters.fit"
        )
    return found
