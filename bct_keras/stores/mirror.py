"""A folder of a store that is worked in on this machine: fetched before, and kept up to date."""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from bct_keras.stores.files import (
    cache_folder,
    here,
    names_in,
    put_files,
    remove_files,
    size_of,
)
from bct_keras.stores.places import is_remote


@dataclass
class Mirror:
    """A run's folder: TensorFlow writes checkpoints and logs to this machine's disks alone.

    Of a folder on this machine it is just that folder.
    """

    folder: Path
    last: str  # the file that is put after all others: whoever sees it sees them
    put: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> size, time of change

    @property
    def here(self) -> Path:
        """The folder on this machine."""
        if not is_remote(self.folder):
            return self.folder
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()
        return cache_folder() / "runs" / name / self.folder.name

    def fetch(self) -> None:
        """Makes the folder on this machine what the store has, where that is another one."""
        if not is_remote(self.folder):
            return
        manifest = self.folder / self.last
        mine = self.here / self.last
        there = None if size_of(manifest) is None else here(manifest).read_bytes()
        if there is None or (mine.is_file() and mine.read_bytes() == there):
            self.put = {name: self.state(name) for name in self.common_names()}
            return
        shutil.rmtree(self.here, ignore_errors=True)
        for name in names_in(self.folder):
            file = self.here / name
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here(self.folder / name), file)
            self.put[name] = self.state(name)

    def common_names(self) -> list[str]:
        """Returns the names of files that are in the store and here, and have one size."""
        found = []
        for name in names_in(self.folder):
            file = self.here / name
            if file.is_file() and file.stat().st_size == size_of(self.folder / name):
                found.append(name)
        return found

    def state(self, name: str) -> tuple[int, int]:
        """Returns what tells whether a file was changed."""
        found = (self.here / name).stat()
        return found.st_size, found.st_mtime_ns

    def push(self) -> None:
        """Puts what was changed into the store, and removes there what was removed here."""
        if not is_remote(self.folder) or not self.here.is_dir():
            return
        states = {}
        changed = []
        for name in names_in(self.here):
            if not is_kept(name):
                continue
            states[name] = self.state(name)
            if self.put.get(name) != states[name]:
                changed.append(name)
        removed = [name for name in self.put if name not in states]
        put_files(self.here, self.folder, changed, self.last)
        remove_files(self.folder, removed)
        self.put = states


def is_kept(name: str) -> bool:
    """Tells whether a file is part of the folder, and not a lock or one that is being written."""
    return not any(part.startswith(".") for part in Path(name).parts)
