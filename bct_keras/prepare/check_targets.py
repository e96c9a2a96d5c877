"""What can be checked: the images of a RecordIO folder or of a data set, one after another, each
with its place.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bct_keras import artefacts
from bct_keras.data import records, shards
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.sources.recordio import RecordIO, size_by_property
from bct_keras.untrusted.json_files import field

RECORDS_AT_ONCE = 8192


class Image(NamedTuple):
    place: int  # where `Target.read` finds it again
    label: int
    encoded: bytes


class StartAgainError(Exception):
    """What a task has yielded is void, and it is to be asked for again."""


class Target(Protocol):
    """What is checked: its parts, each by any process, and the images in them."""

    title: str
    records: int
    tasks: list[Any]
    broken: list[str]  # found when it was opened

    def images(self, task: Any) -> Iterator[Image | BadImageError]: ...  # may raise StartAgainError

    def where(self, place: int) -> str: ...  # for a message

    def read(self, place: int) -> tuple[str, bytes]: ...


class RecordIOTarget:
    def __init__(self, folder: Path):
        self.source = RecordIO(str(folder), image_size=1)  # the sizes are what is to be found
        self.broken = list(self.source.broken)
        try:
            size_by_property(folder)
        except InputError as error:
            self.broken.append(str(error))
        self.records = len(self.source.labels)
        starts = range(0, self.records, RECORDS_AT_ONCE)
        self.tasks = [range(start, min(start + RECORDS_AT_ONCE, self.records)) for start in starts]
        self.title = f"{self.source.file.path}: RecordIO"

    def images(self, task: range) -> Iterator[Image | BadImageError]:
        labels, read = self.source.labels, self.source.read
        for position in task:
            try:
                record = read(position)
            except BadImageError as bad:
                yield bad
            else:
                yield Image(position, labels.item(position), record.image)

    def where(self, place: int) -> str:
        return self.source.read(place).id

    def read(self, place: int) -> tuple[str, bytes]:
        record = self.source.read(place)
        return record.id, record.image


class DataSetTarget:
    """A data set or one of its views."""

    def __init__(self, folder: Path):
        manifest = artefacts.read_manifest(folder, records.KIND)
        self.shards = shards.shards_of(folder, manifest)
        where = folder / artefacts.MANIFEST
        self.first, self.classes = (
            field(manifest, "first_identity", int, where),
            field(manifest, "classes", int, where),
        )
        self.broken: list[str] = []
        self.changed: set[int] = set()  # the shards that were found not to be those of the manifest
        self.records = sum(shard.records for shard in self.shards)
        self.tasks = list(range(len(self.shards)))
        self.title = f"{folder}: data set"

    def images(self, task: int) -> Iterator[Image | BadImageError]:
        shard = self.shards[task]
        try:
            shard.check_size()
        except InputError as error:
            yield BadImageError(str(error))
        if not shard.path.is_file():
            return
        digest = None if task in self.changed else hashlib.sha256()
        found = damaged = 0
        for stored in shards.stored_records(shard.path, digest=digest):
            if isinstance(stored, BadImageError):
                damaged += 1
                yield stored
            elif not 0 <= stored.label - self.first < self.classes:
                yield shards.bad(
                    shard.path, stored.offset, f"its label {stored.label} is not of this data set"
                )
            else:
                found += 1
                yield Image(task << 40 | stored.offset, stored.label - self.first, stored.image)
        if digest is not None and digest.hexdigest() != shard.sha256:
            self.changed.add(task)  # then its records' own checksums tell which of them are damaged
            raise StartAgainError
        if found + damaged != shard.records:
            yield BadImageError(
                f"{shard.path}: {found + damaged} records, and its manifest says {shard.records}"
            )
        elif not damaged and task in self.changed:
            yield BadImageError(
                f"{shard.path}: its records are whole, but not those of the manifest (sha256)"
            )

    def where(self, place: int) -> str:
        path = self.shards[place >> 40].path
        stored = shards.stored_at(path, place & (1 << 40) - 1)
        return f"{path}, record at byte {stored.offset} ({stored.id})"

    def read(self, place: int) -> tuple[str, bytes]:
        path = self.shards[place >> 40].path
        stored = shards.stored_at(path, place & (1 << 40) - 1)
        return f"{path.name} at byte {stored.offset} ({stored.id})", stored.image


def open_target(path: Path) -> Target:
    if artefacts.kind_of(path) == records.KIND:
        return DataSetTarget(path)
    if path.is_dir() and not any(path.glob("*.rec")):
        raise InputError(
            f"{path} is neither a data set (no {artefacts.MANIFEST}) nor a RecordIO folder (no .rec"
            " file)"
        )
    return RecordIOTarget(path)
