"""What can be checked: the images of a RecordIO folder or of a data set, each with its place."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bct_keras import artefacts, stores
from bct_keras.data import records, shards
from bct_keras.data.shard_list import shards_of
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.sources.recordio import RecordIO, size_by_property
from bct_keras.untrusted.json_files import field

RECORDS_AT_ONCE = 8192
# The place of a data set's image has the shard's number in the bits above these.
OFFSET_BITS = 40


class Image(NamedTuple):
    """An image that was found, and where."""

    place: int  # where `Target.read` finds it again
    label: int
    encoded: bytes


class StartAgainError(Exception):
    """Says that what a task has yielded is void, and that it is to be asked for again."""


class Target(Protocol):
    """What is checked: its parts, each by any process, and the images in them."""

    title: str
    records: int
    tasks: list[Any]
    broken: list[str]  # found when it was opened

    def images(self, task: Any) -> Iterator[Image | BadImageError]:
        """Yields the images of a part, and an error for each that is broken.

        It may raise StartAgainError.
        """
        ...

    def where(self, place: int) -> str:
        """Returns how a message names the image."""
        ...

    def read(self, place: int) -> tuple[str, bytes]:
        """Returns the name of the image and its bytes."""
        ...


class RecordIOTarget:
    """A folder of InsightFace's."""

    def __init__(self, folder: Path):
        self.source = RecordIO(str(folder), image_size=1)  # the sizes are what is to be found
        self.broken = list(self.source.broken)
        try:
            size_by_property(folder)
        except InputError as error:
            self.broken.append(str(error))
        self.records = len(self.source.labels)
        self.tasks: list[range] = []
        for start in range(0, self.records, RECORDS_AT_ONCE):
            stop = min(start + RECORDS_AT_ONCE, self.records)
            self.tasks.append(range(start, stop))
        self.title = f"{self.source.file.path}: RecordIO"

    def images(self, task: range) -> Iterator[Image | BadImageError]:
        """Yields the images at these positions."""
        labels = self.source.labels
        for position in task:
            try:
                record = self.source.read(position)
            except BadImageError as bad:
                yield bad
            else:
                yield Image(position, labels.item(position), record.image)

    def where(self, place: int) -> str:
        """Returns how a message names the image."""
        return self.source.read(place).id

    def read(self, place: int) -> tuple[str, bytes]:
        """Returns the name of the image and its bytes."""
        record = self.source.read(place)
        return record.id, record.image


class DataSetTarget:
    """A data set or one of its views."""

    def __init__(self, folder: Path):
        manifest = artefacts.read_manifest(folder, records.KIND)
        where = folder / artefacts.MANIFEST
        self.shards = shards_of(folder, manifest)
        self.first = field(manifest, "first_identity", int, where)
        self.classes = field(manifest, "classes", int, where)
        self.broken: list[str] = lost_copies(folder)
        for view in field(manifest, "views", list, where):
            if stores.size_of(folder / str(view) / artefacts.MANIFEST) is None:
                self.broken.append(
                    f"{folder / str(view) / artefacts.MANIFEST}: this manifest is missing; the "
                    "same prepare makes it anew"
                )
        self.changed: set[int] = set()  # the shards that were found not to be those of the manifest
        self.records = self.shards.records
        self.tasks = list(range(len(self.shards)))
        self.title = f"{folder}: data set"

    def images(self, task: int) -> Iterator[Image | BadImageError]:
        """Yields the images of a shard.

        A shard that is not the manifest's has to be asked for once more: then its records' own
        checksums tell which of them are damaged.
        """
        shard = self.shards[task]
        try:
            shard.check_size()
        except InputError as error:
            yield BadImageError(str(error))
        if stores.size_of(shard.path) is None:
            return
        digest = None if task in self.changed else hashlib.sha256()
        found = 0
        damaged = 0
        for stored in shards.stored_records(shard.here, digest=digest):
            if isinstance(stored, BadImageError):
                damaged += 1
                yield stored
                continue
            label = stored.label - self.first
            if 0 <= label < self.classes:
                found += 1
                yield Image(task << OFFSET_BITS | stored.offset, label, stored.image)
            else:
                wrong = f"its label {stored.label} is not of this data set"
                yield shards.bad(shard.path, stored.offset, wrong)
        if digest is not None and digest.hexdigest() != shard.sha256:
            self.changed.add(task)
            raise StartAgainError
        there = found + damaged
        if there != shard.records:
            yield BadImageError(
                f"{shard.path}: {there} records, and its manifest says {shard.records}"
            )
        elif not damaged and task in self.changed:
            yield BadImageError(
                f"{shard.path}: its records are whole, but not those of the manifest (sha256)"
            )

    def where(self, place: int) -> str:
        """Returns how a message names the image."""
        path, stored = self.stored(place)
        return f"{path}, record at byte {stored.offset} ({stored.id})"

    def read(self, place: int) -> tuple[str, bytes]:
        """Returns the name of the image and its bytes."""
        path, stored = self.stored(place)
        return f"{path.name} at byte {stored.offset} ({stored.id})", stored.image

    def stored(self, place: int) -> tuple[Path, shards.Stored]:
        """Returns the shard's file and the record at a place."""
        path = self.shards[place >> OFFSET_BITS].here
        offset = place & (1 << OFFSET_BITS) - 1
        return path, shards.stored_at(path, offset)


def lost_copies(folder: Path) -> list[str]:
    """Returns a line for each copy, of a manifest or of its table, that is lost or is none."""
    found = []
    for name in artefacts.missing_twins(folder):
        found.append(f"{folder / name}: this copy is missing; the same prepare makes it anew")
    for name in (artefacts.MANIFEST, artefacts.TABLE):
        copy = folder / (name + artefacts.COPY)
        there = stores.size_of(copy) is not None and stores.size_of(folder / name) is not None
        if there and artefacts.file_sha256(copy) != artefacts.file_sha256(folder / name):
            found.append(
                f"{copy}: it is not as {name} is; remove the one that was changed, and the same "
                "prepare makes it anew"
            )
    return found


def open_target(path: Path) -> Target:
    """Opens a data set or a RecordIO folder."""
    if stores.size_of(path / (artefacts.MANIFEST + artefacts.COPY)) is not None:
        return DataSetTarget(path)
    if artefacts.kind_of(path) == records.KIND:
        return DataSetTarget(path)
    if path.is_dir() and not any(path.glob("*.rec")):
        raise InputError(
            f"{path} is neither a data set (no {artefacts.MANIFEST}) nor a RecordIO folder (no "
            ".rec file)"
        )
    return RecordIOTarget(path)
