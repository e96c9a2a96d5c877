"""Reads zip archives.

Nothing of one is unpacked before all that it claims has been held against the file's own size.
"""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bct_keras.errors import InputError
from bct_keras.untrusted.reading import opened, reason_of

LARGEST_DIRECTORY = 1 << 20  # bytes of it: some ten thousand members
# Embeddings and weights hardly shrink at all, names to a twentieth; a file made to fill the memory
# to a thousandth.
ALWAYS_UNPACKED = 1 << 26  # bytes
UNPACKED_PER_BYTE = 8
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1


class Directory:
    """Stands before a file while its list of members is read.

    That list is read at once, whatever length it claims.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.limited = True

    def read(self, size: int = -1) -> bytes:
        """Reads so many bytes; raises where the list of members would be too long."""
        place = self.file.tell()
        end = self.file.seek(0, 2)
        there = end - self.file.seek(place)
        wanted = there if size < 0 else min(size, there)
        if self.limited and wanted > LARGEST_DIRECTORY:
            raise ValueError(f"its list of members has more than {LARGEST_DIRECTORY:,} bytes")
        return self.file.read(size)

    def seek(self, *place: int) -> int:
        """Moves to a place in the file."""
        return self.file.seek(*place)

    def tell(self) -> int:
        """Tells the place in the file."""
        return self.file.tell()

    def seekable(self) -> bool:
        """Tells that it can be moved in."""
        return True

    def close(self) -> None:
        """Does nothing: the file is closed by whoever has opened it."""


@contextlib.contextmanager
def opened_archive(path: str | Path, fault: str) -> Iterator[zipfile.ZipFile]:
    """Opens an archive of which all members together are safe to unpack.

    Any fault while it is used becomes one line. `fault` is how that begins after the file's name,
    as in "cannot be read as an archive".
    """
    with opened(path) as file:
        try:
            directory = Directory(file)
            with zipfile.ZipFile(directory) as archive:  # pyright: ignore[reportArgumentType]
                directory.limited = False
                check_claims(archive.infolist(), file.seek(0, 2))
                yield archive
        except InputError:
            raise
        except Exception as reason:  # what is read is damaged: it may fail in any way
            why = reason_of(reason)
            if isinstance(reason, zipfile.BadZipFile) and "not a zip file" in why:
                why = "it is no zip archive; perhaps it was cut off"
            raise InputError(f"{path} {fault}: {why}") from None


def check_claims(members: list[zipfile.ZipInfo], file_size: int) -> None:
    """Raises where the members could not be those of an honest file of this size."""
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError("two of its members have the same name")
    for member in members:
        if member.flag_bits & ENCRYPTED or member.compress_type not in METHODS:
            raise ValueError(
                f"its member {member.filename[:80]!r} is encrypted or packed in an unknown way"
            )
        if member.compress_size > file_size or member.header_offset > file_size:
            raise ValueError(
                f"its member {member.filename[:80]!r} reaches beyond the end of the file"
            )
    unpacked = sum(member.file_size for member in members)
    if unpacked > ALWAYS_UNPACKED + UNPACKED_PER_BYTE * file_size:
        raise ValueError(
            f"{file_size:,} bytes would unpack to {unpacked:,}, which is no honest file's"
        )
