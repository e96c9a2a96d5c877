"""Folders in object stores, which know no lock and no renaming.

They are filled in their place, and whoever reads them waits for the manifest, which is put last.
Commands that fill one at the same time put the same content to the same names.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bct_keras import stores
from bct_keras.artefacts.manifests import MANIFEST, check_place, is_current
from bct_keras.errors import InputError

STARTED = ".started.json"  # what an unfinished folder is made from


@contextlib.contextmanager
def filling_in_store(
    folder: Path, kind: str, made_from: dict[str, Any], text: str
) -> Iterator[Path | None]:
    """Yields the folder to fill, or None where it is complete.

    Args:
        folder: In a store.
        kind: Of the artefact.
        made_from: What its manifest is to say.
        text: What stands for that in the note that the folder is begun.
    """
    if is_made(folder, kind, made_from):
        yield None
        return
    begin_in_store(folder, kind, text)
    yield folder
    if stores.size_of(folder / MANIFEST) is not None:
        stores.remove_files(folder, [STARTED])


def is_made(folder: Path, kind: str, made_from: dict[str, Any]) -> bool:
    """Tells whether the folder is complete; raises where it holds something else."""
    has_manifest = stores.size_of(folder / MANIFEST) is not None
    return has_manifest and is_current(folder, kind, made_from)


def begin_in_store(folder: Path, kind: str, text: str) -> None:
    """Notes what an unfinished folder is made from; raises where that is something else."""
    note = folder / STARTED
    if stores.size_of(note) is None:
        check_place(folder, kind)
        with stores.uploading(note) as file:
            file.write_text(text)
    elif stores.read_bytes(note, len(text) + 1).decode(errors="replace") != text:
        raise InputError(
            f"{folder} was begun from something else and is not finished; choose another folder or "
            "remove it"
        )


@contextlib.contextmanager
def put_when_filled(folder: Path) -> Iterator[Path]:
    """Yields a folder of this machine to fill, whose files are put into the store at the end.

    The manifest is the last of them.
    """
    with tempfile.TemporaryDirectory(prefix="bct_keras-") as name:
        here = Path(name) / folder.name
        here.mkdir()
        yield here
        stores.put_folder(here, folder, last=MANIFEST)
