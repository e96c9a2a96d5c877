"""Locks of the kernel (flock): they end with the last process that holds them, however that ends.

A folder is locked by a file in it, since a file that is open for writing can be locked on network
disks too.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
from pathlib import Path

from bct_keras import progress
from bct_keras.errors import InputError

HOLDER = ".held_by"  # in a locked folder: its lock, and in words who has it
HOLDER_TEXT = re.compile(rb"process \d+ on [\w.-]+")
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def lock_folder(folder: Path, waiting: str = "", shared: bool = False) -> int | None:
    """Locks a folder and returns the descriptor that holds the lock; None where it cannot.

    It cannot where another process has the lock, or where the folder is gone or is none. With
    `waiting`, the name of what others make there, this says for whom it waits, and None is only a
    folder that was renamed or removed meanwhile. Others can have a `shared` lock at the same time,
    and nobody can have the whole of it meanwhile.
    """
    try:
        directory = os.open(folder, OPEN_FOLDER)
        try:
            return lock_opened(folder, directory, waiting, shared)
        finally:
            os.close(directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        if not waiting:
            return None
        raise InputError(
            f"{folder} is in the way: a link or a file, or with a link in it, where {waiting} is "
            "to be made; remove it"
        ) from None


def lock_opened(folder: Path, directory: int, waiting: str, shared: bool) -> int | None:
    """Locks a folder that is open as `directory`; returns what `lock_folder` does."""
    descriptor = os.open(HOLDER, OPEN_LOCK, 0o644, dir_fd=directory)
    taken = try_lock(descriptor, folder, shared=shared)
    if not taken and waiting:
        progress.note(f"{waiting}: waiting for {told_holder(descriptor)}, which is making it")
        taken = try_lock(descriptor, folder, wait=True, shared=shared)
    if taken and is_at(descriptor, folder / HOLDER):
        tell_holder(descriptor)
        return descriptor
    if taken:  # in a folder that is in its place by now, where a lock is one file too many
        with contextlib.suppress(FileNotFoundError):
            os.unlink(HOLDER, dir_fd=directory)
    os.close(descriptor)
    return None


def try_lock(descriptor: int, place: Path, wait: bool = False, shared: bool = False) -> bool:
    """Tells whether the lock was taken; with `wait` it always is in the end.

    A lock that is held already becomes a `shared` one, or one of this process alone.
    """
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if not wait:
        how |= fcntl.LOCK_NB
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f"{place}: files cannot be locked there ({error.strerror}), so that two commands could "
            "destroy each other's work; choose a place on another file system"
        ) from None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Tells whether what is open is still what the path names.

    That may have been removed, renamed or made anew.
    """
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def tell_holder(descriptor: int) -> None:
    """Writes who has the lock, for others to read who have to wait for it."""
    host = re.sub(r"[^0-9A-Za-z_.-]", "_", socket.gethostname()) or "this-host"
    text = f"process {os.getpid()} on {host}"
    # On a full disk they are not told; the lock holds all the same.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def told_holder(descriptor: int) -> str:
    """Reads who has the lock."""
    text = os.pread(descriptor, 1000, 0)
    return text.decode() if HOLDER_TEXT.fullmatch(text) else "another process"
