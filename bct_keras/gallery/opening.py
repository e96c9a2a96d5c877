"""Opens, makes, locks and replaces the file of a gallery.

A file that takes the place of another is written beside it, where nobody else can have put
anything, is readable to the same people, and takes the place of the file itself where the gallery's
path is a symbolic link to it.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from bct_keras.errors import InputError
from bct_keras.gallery.blocks import COMMIT, HEADER, BlockFile, sealed, write_all
from bct_keras.gallery.layout import FIRST_BLOCK, MAGIC, VERSION

LOCK_SECONDS = 10.0  # a writer waits this long for another one to end
FOR_GROUP = 0o070


def open_to_read(path: Path) -> BlockFile:
    """Opens a file that only others write to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with closed_on_error(descriptor):
        return BlockFile(path, descriptor)


@contextlib.contextmanager
def closed_on_error(descriptor: int) -> Iterator[None]:
    """Closes a file on an error, which gives its lock back."""
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def open_to_write(path: Path, dims: int | None) -> tuple[BlockFile, bool]:
    """Opens and locks the file; makes one of `dims` where there is none, unless that is None.

    Returns the file, and whether it was made. What a killed writer left is removed: bytes that it
    never acknowledged, and the file with which it was about to replace this one.
    """
    absent = not path.exists()
    how = os.O_RDWR | os.O_CLOEXEC
    if dims is not None:
        how |= os.O_CREAT
    while True:
        descriptor = os.open(path, how, 0o644)
        with closed_on_error(descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(f"{path} is no gallery: it is not a file")
            lock(path, descriptor)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)  # it was replaced between our opening and locking it
    with closed_on_error(descriptor):
        empty = os.fstat(descriptor).st_size == 0
        if empty and dims is not None:
            begin(descriptor, dims)
            sync_folder(place_of(path))
        file = BlockFile(path, descriptor)
        file.forget_unacknowledged()
        partial_of(path).unlink(missing_ok=True)
        return file, empty and absent


def lock(path: Path, descriptor: int) -> None:
    """Takes the lock of an open file; waits for another writer, but not for ever."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise InputError(
                    f"{path}: another command is writing to this gallery; try again when it has "
                    "ended"
                ) from None
            time.sleep(0.02)


def begin(descriptor: int, dims: int) -> None:
    """Makes an empty gallery of an open file."""
    os.ftruncate(descriptor, 0)
    header = sealed(HEADER.pack(MAGIC, VERSION, dims))
    commit = sealed(COMMIT.pack(FIRST_BLOCK, 0))
    write_all(descriptor, header + commit, 0)
    os.fsync(descriptor)


def place_of(path: Path) -> Path:
    """Returns where the file itself lies, to which `path` may be a symbolic link."""
    return Path(os.path.realpath(path))


def partial_of(path: Path) -> Path:
    """Returns where a file is written before it takes its place."""
    place = place_of(path)
    return place.with_name(f".{place.name}.partial")


@contextlib.contextmanager
def replacement(file: BlockFile, dims: int) -> Iterator[BlockFile]:
    """Yields a new, locked file to fill, of `dims`, which at the end takes the place of `file`.

    The order is what makes it safe: 1 the new file is written, 2 synced, 3 renamed into the place,
    4 the folder is synced. On an error the new file is removed and the old one stays.
    """
    partial = partial_of(file.path)
    if file.replaced():
        raise InputError(
            f"{file.path}: another file has taken the place of this gallery; nothing was written "
            "to that"
        )
    partial.unlink(missing_ok=True)
    # O_EXCL: a link that somebody puts there in this moment is not followed.
    descriptor = os.open(
        partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        lock(partial, descriptor)
        begin(descriptor, dims)
        new = BlockFile(file.path, descriptor)
        yield new
        let_the_same_people_in(descriptor, os.fstat(file.descriptor))
        os.fsync(descriptor)
        os.replace(partial, place_of(file.path))
        sync_folder(partial)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def let_the_same_people_in(descriptor: int, model: os.stat_result) -> None:
    """Gives the new file the owner, group and permissions of `model`, as far as this may."""
    mode = stat.S_IMODE(model.st_mode)
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, model.st_uid, -1)
    try:
        os.fchown(descriptor, -1, model.st_gid)
    except PermissionError:
        mode &= ~FOR_GROUP  # what one group may read is not for another
    os.fchmod(descriptor, mode)


def sync_folder(path: Path) -> None:
    """Has the names of a folder's files written to the disk."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
