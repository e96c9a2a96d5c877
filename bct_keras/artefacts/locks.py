"""Locks of the kernel (flock): they end with the last process that holds them, however that ends."""

import fcntl
import os
import re
import socket
from pathlib import Path

from bct_keras.errors import InputError

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
HOLDER_TEXT = re.compile(rb"process \d+ on [\w.-]+")


def locked(folder: Path) -> int | None:
    """The descriptor of a folder that is now locked; None where another process has it, or it is gone, or none."""
    try:
        descriptor = os.open(folder, OPEN_FOLDER)
    except OSError:
        return None
    if try_lock(descriptor, folder) and is_at(descriptor, folder):
        return descriptor
    os.close(descriptor)
    return None


def try_lock(descriptor: int, place: Path, wait: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f"{place}: files cannot be locked there ({error.strerror}), so that two commands could destroy each "
            "other's work; choose a place on another file system"
        ) from None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether what is open is still what the path names: it may have been removed, renamed or made anew."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def holder() -> bytes:
    """This process, for others to read who have to wait for it."""
    return f"process {os.getpid()} on {re.sub(r'[^0-9A-Za-z_.-]', '_', socket.gethostname()) or 'this host'}".encode()


def told_holder(text: bytes) -> str:
    return text.decode() if HOLDER_TEXT.fullmatch(text) else "another process"
