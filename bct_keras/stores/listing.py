"""Files of this machine: what is below a folder, and how large a file is."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def size_here(path: Path) -> int | None:
    """Returns the bytes of a file of this machine; None where there is none."""
    try:
        state = os.stat(path)
    except ValueError:  # of a name with a zero byte
        return None
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            return None
        raise
    return state.st_size if stat.S_ISREG(state.st_mode) else None


def files_below(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """Yields the name from there of each file below a folder of this machine, and its entry."""
    if not folder.is_dir():
        return
    waiting = [""]
    while waiting:
        way = waiting.pop()
        for entry in entries_of(folder / way):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{way}{entry.name}/")
            elif leads_to_a_file(entry):
                yield f"{way}{entry.name}", entry


def entries_of(folder: Path) -> list[os.DirEntry]:
    """Returns what is in a folder; nothing where another process has removed it meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def leads_to_a_file(entry: os.DirEntry) -> bool:
    """Tells whether an entry is a file, or a link to one; a link to itself leads nowhere."""
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
