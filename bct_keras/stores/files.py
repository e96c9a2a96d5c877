"""Files of object stores: copies of them on this machine, and files put there whole.

TensorFlow 2.21 has no file system for S3, and training reads every shard in each epoch. So whatever
is read is fetched once, whole, to this machine's cache, and read from there as any file is.
"""

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bct_keras.errors import UnfinishedError
from bct_keras.stores.listing import files_below, size_here
from bct_keras.stores.places import is_remote, place, store_of
from bct_keras.stores.told import plainly

Item = TypeVar("Item")
Found = TypeVar("Found")
CACHE = "BCT_KERAS_CACHE"  # the environment variable that says where copies are kept
AT_ONCE = 16  # requests to a store
PARTIAL = ".partial-"  # in the name of a file that is not whole yet


def cache_folder() -> Path:
    """Returns the folder of this machine's copies."""
    named = os.environ.get(CACHE)
    return Path(named) if named else Path.home() / ".cache" / "bct_keras"


def here(path: Path) -> Path:
    """Returns the path on this machine of a file that may be of a store.

    A copy is known by the store's own mark of the content, so that an object that was changed is
    fetched anew.
    """
    if not is_remote(path):
        return path
    with plainly(path):
        store = store_of(path)
        state = store.info(str(path))
        copy = cached(path, state)
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with aside(copy) as partial:
                store.get_file(str(path), str(partial))
                check_whole(path, partial, state["size"])
    return copy


def read_bytes(path: Path, most: int) -> bytes:
    """Returns a small file of a store, or its first bytes; no copy is kept."""
    with plainly(path):
        return store_of(path).cat_file(str(path), start=0, end=most)


def cached(path: Path, state: dict) -> Path:
    """Returns where the copy of an object lies, by what the store says of it."""
    text = json.dumps([str(path), mark_of(state), state["size"]])
    name = hashlib.sha256(text.encode()).hexdigest()
    # Some tell what a file is by the end of its name.
    return cache_folder() / name[:2] / name / path.name


def mark_of(state: dict) -> str:
    """Returns a store's own mark of an object's content."""
    mark = None
    for name in ("ETag", "etag", "md5Hash", "mtime"):  # S3 has the first, and Google the others
        mark = mark or state.get(name)
    return str(mark)


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Yields a file beside a path of this machine, which takes its place when the block ends well.

    Each has a name of its own, so that several processes may put the same content there.
    """
    partial = path.with_suffix(f"{PARTIAL}{secrets.token_hex(4)}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_whole(path: Path, partial: Path, size: int) -> None:
    """Raises where less of an object has come than there is."""
    there = partial.stat().st_size
    if there != size:
        raise UnfinishedError(
            f"{path}: {there:,} of {size:,} bytes have come from the store; run the same command "
            "again"
        )


def forget(path: Path) -> None:
    """Removes this machine's copy of a file that is read only once."""
    if is_remote(path):
        shutil.rmtree(here(path).parent, ignore_errors=True)


def mapped(
    folder: Path, function: Callable[[Item], Found], items: Iterable[Item]
) -> Iterator[Found]:
    """Yields what the function returns for each item, in their order.

    Of files of a store many are asked for at once; those of this machine need no waiting.
    """
    if not is_remote(folder):
        yield from map(function, items)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(function, items)


def make_folder(folder: Path) -> None:
    """Makes a folder; in a store there are none to make."""
    if not is_remote(folder):
        folder.mkdir(parents=True, exist_ok=True)


def size_of(path: Path) -> int | None:
    """Returns the bytes of a file, of a store or of this machine; None where there is none."""
    if not is_remote(path):
        return size_here(path)
    with plainly(path):
        try:
            state = store_of(path).info(str(path))
        except FileNotFoundError:
            return None
    return None if state["type"] == "directory" else state["size"]


@contextlib.contextmanager
def uploading(path: Path) -> Iterator[Path]:
    """Yields a file of this machine to write, which is put into the store when the block ends well.

    Others see all of it or nothing: a store takes an object when its last byte has come.
    """
    with tempfile.TemporaryDirectory(prefix="bct_keras-") as folder:
        partial = Path(folder) / path.name
        yield partial
        put(partial, path)


def put(file: Path, path: Path) -> None:
    """Puts a file of this machine into the store."""
    with plainly(path):
        store_of(path).put_file(str(file), str(path))


def put_folder(folder: Path, to: Path, last: str) -> None:
    """Puts all files of a folder of this machine into the store, the one named `last` as the last.

    Whoever sees that one sees the others too.
    """
    put_files(folder, to, names_in(folder), last)


def put_files(folder: Path, to: Path, names: list[str], last: str) -> None:
    """Puts these files of a folder of this machine into the store, `last` after all others."""
    before = [name for name in names if name != last]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda name: put(folder / name, to / name), before):
            pass
    if last in names:
        put(folder / last, to / last)


def names_in(folder: Path, most: int | None = None) -> list[str]:
    """Returns the names of all files below a folder, from there; or of `most` things in it."""
    if not is_remote(folder):
        return sorted(name for name, _ in files_below(folder))
    with plainly(folder):
        prefix = str(folder).partition("://")[2].rstrip("/") + "/"
        if most is not None:
            with contextlib.suppress(FileNotFoundError):
                return [path.name for path in itertools.islice(folder.iterdir(), most)]
            return []
        found = store_of(folder).find(str(folder))
    return sorted(name[len(prefix) :] for name in found if name.startswith(prefix))


def each_name_in(folder: Path) -> Iterator[str]:
    """Yields the names of all files below a folder, from there, in any order."""
    if is_remote(folder):
        yield from names_in(folder)
        return
    for name, _ in files_below(folder):
        yield name


def sizes_in(folder: Path) -> dict[str, int]:
    """Returns the size of each file below a folder, by its name from there, after one listing."""
    if not is_remote(folder):
        return {name: entry.stat().st_size for name, entry in files_below(folder)}
    return {name: state.size for name, state in states_in(folder).items()}


@dataclass(frozen=True)
class State:
    """What a store says of an object."""

    size: int
    mark: str  # another one with other content


def states_in(folder: Path) -> dict[str, State]:
    """Returns what a store says of each object below a folder, by its name from there.

    That takes one listing, which gives a thousand of them with each answer.
    """
    with plainly(folder):
        prefix = str(folder).partition("://")[2].rstrip("/") + "/"
        found = store_of(folder).find(str(folder), detail=True)
    states = {}
    for name, state in found.items():
        if name.startswith(prefix) and not name.endswith("/"):  # that is a mark of a folder
            states[name[len(prefix) :]] = State(state["size"], mark_of(state))
    return states


def folder_here(folder: Path) -> Path:
    """Returns the folder on this machine; one of a store is fetched whole, but for hidden files."""
    if not is_remote(folder):
        return folder
    files = states_in(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: no such folder in the store")
    marks = [[name, files[name].mark, files[name].size] for name in sorted(files)]
    text = json.dumps([str(folder), marks])
    copy = cache_folder() / "folders" / hashlib.sha256(text.encode()).hexdigest() / folder.name
    for name in sorted(files):
        file = copy / name
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with aside(file) as partial:
                shutil.copyfile(here(folder / name), partial)
    return copy


def remove_files(folder: Path, names: list[str]) -> None:
    """Removes files of a folder in a store; those that are gone already are no matter."""

    def remove(name: str) -> None:
        with plainly(folder), contextlib.suppress(FileNotFoundError):
            store_of(folder).rm_file(str(folder / name))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(remove, names):
            pass


def remove_folder(folder: Path) -> None:
    """Removes a folder and all files in it, where it is there."""
    if is_remote(folder):
        remove_files(folder, names_in(folder))
    elif folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def local(named: str | Path) -> Path:
    """Returns a place on this machine: of a store, the copy of the file or of the folder."""
    path = place(named)
    if not is_remote(path):
        return path
    if size_of(path) is not None:
        return here(path)
    return folder_here(path)
