"""Paths of object stores by etils.epath, over fsspec.

Only `place` imports this, where a store is named. What private names of epath are used stands here;
tests/stores/places_test.py would tell if they went.
"""

import os
from pathlib import Path
from typing import Any

from etils.epath.backend import fsspec_backend
from etils.epath.gpath import PosixGPath
from fsspec.config import conf

CONNECTIONS_FAILED = (
    "ConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "HTTPClientError",
)


class StorePath(PosixGPath):
    """A path of an object store that is read by fsspec.

    Where TensorFlow is installed, epath would read by its file systems, and it has none for S3.
    """

    @property
    def _backend(self) -> Any:
        return fsspec_backend


def store_of(path: Path) -> Any:
    """Returns the file system of fsspec that a path of a store belongs to."""
    return fsspec_backend.fs(path)


def is_passing(error: BaseException) -> bool:
    """Tells whether an error of a store may be gone in a moment."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & set(CONNECTIONS_FAILED))


def set_up() -> None:
    """Lets stores never answer from an old listing or after a fork, and try again in a moment."""
    for protocol in ("s3", "gs", "gcs"):
        conf.setdefault(protocol, {}).setdefault("use_listings_cache", False)
    # A forked process needs connections of its own.
    os.register_at_fork(after_in_child=fsspec_backend._get_filesystem.cache_clear)
    try:
        from s3fs import core
    except ImportError:  # a store of another kind may be all that is wanted
        return
    core.set_custom_error_handler(is_passing)


set_up()
