"""What an object store's errors mean, in a line."""

import contextlib
from collections.abc import Iterator

from bct_keras.errors import InputError, UnfinishedError
from bct_keras.stores.places import is_remote

LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "fsspec")


@contextlib.contextmanager
def plainly(path: object) -> Iterator[None]:
    """Makes plain lines of what an object store says of a path; other errors pass."""
    if not is_remote(path):
        yield
        return
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        text = explained(error)
        if text is None:
            raise
        kind = (
            InputError
            if isinstance(error, FileNotFoundError | PermissionError)
            else UnfinishedError
        )
        raise kind(f"{path}: {text}") from None


def explained(error: BaseException) -> str | None:
    """Returns what an error of a store means and what to do; None for an error of anything else."""
    if isinstance(error, FileNotFoundError):
        return "there is nothing there in the store"
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return f"the store refuses ({first_line(error)}); look at the credentials and their rights"
    if is_of_store(error) or isinstance(error, OSError | TimeoutError):
        return (
            f"the store does not answer as it should ({first_line(error)}); what is done is kept, "
            "and the same command goes on"
        )
    return None


def is_of_store(error: BaseException) -> bool:
    """Tells whether an error comes from what speaks with object stores."""
    for each in (error, error.__cause__):
        if each is not None and type(each).__module__.partition(".")[0] in LIBRARIES:
            return True
    return False


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says."""
    text, _, _ = str(error).strip().partition("\n")
    return text or type(error).__name__
