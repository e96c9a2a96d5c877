"""The shards of a data set, in columns: of a million of them no million objects are made.

They stand in a table beside the manifest; earlier versions listed them in the manifest itself.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, overload

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.artefacts import tables
from bct_keras.data.records import KIND
from bct_keras.data.shards import SMALLEST_RECORD, Shard
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import field

COLUMNS = (("records", "<i8"), ("bytes", "<i8"), ("sha256", *tables.DIGEST))
FOLDER = "shards"  # in which the files lie, beside the table
ENDING = ".tfrecord"
# A view lies in a folder of the data set whose shards it names: a manifest may point nowhere else.
SHARD_PATH = re.compile(r"(?:\.\./)?shards/[A-Za-z0-9][A-Za-z0-9._-]*\.tfrecord")
AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Shards(Sequence[Shard]):
    """Shards as a table has them; each is made when it is asked for."""

    folder: Path  # of their files
    rows: np.ndarray  # [shards], structured: name, records, bytes, sha256

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Shard: ...

    @overload
    def __getitem__(self, place: slice) -> "Shards": ...

    def __getitem__(self, place: int | slice) -> "Shard | Shards":
        if isinstance(place, slice):
            return Shards(self.folder, self.rows[place])
        (shard,) = Shards(self.folder, self.rows[place][None])
        return shard

    def __iter__(self) -> Iterator[Shard]:
        for start in range(0, len(self.rows), AT_ONCE):
            rows = self.rows[start : start + AT_ONCE]
            names = rows["name"].tolist()
            records = rows["records"].tolist()
            sizes = rows["bytes"].tolist()
            digests = tables.hexadecimal(rows["sha256"])
            for name, count, size, sha256 in zip(names, records, sizes, digests, strict=True):
                path = self.folder / f"{name.decode('ascii')}{ENDING}"
                yield Shard(path=path, records=count, bytes=size, sha256=sha256)

    @property
    def records(self) -> int:
        """Returns how many images all of them have."""
        return int(self.rows["records"].sum())

    def names(self) -> list[str]:
        """Returns the files' names without their ending."""
        return self.rows["name"].astype(np.str_).tolist()

    def each_name(self) -> Iterator[str]:
        """Yields the same names, of which only some are in memory at a time."""
        for start in range(0, len(self.rows), AT_ONCE):
            yield from self[start : start + AT_ONCE].names()

    def fingerprint(self, *more: Any) -> str:
        """Returns the fingerprint of the list of all sha256, and of more values after it."""
        digest = hashlib.sha256(b"[[")
        between = ""
        for start in range(0, len(self.rows), AT_ONCE):
            found = tables.hexadecimal(self.rows["sha256"][start : start + AT_ONCE])
            digest.update((between + '"' + '","'.join(found) + '"').encode())
            between = ","
        rest = json.dumps(more, separators=(",", ":"))
        digest.update(f"],{rest[1:-1]}]".encode())
        return digest.hexdigest()

    def check_sizes(self) -> None:
        """Raises where a file of this machine is missing or has another size.

        A store is not asked: a million questions take an hour. There each is looked at when it is
        fetched, and whoever works on all of them fetches them first.
        """
        if stores.is_remote(self.folder):
            return
        start = os.path.join(self.folder, "")
        sizes = self.rows["bytes"].tolist()
        for number, (name, size) in enumerate(zip(self.names(), sizes, strict=True)):
            try:
                state = os.stat(f"{start}{name}{ENDING}")
            except OSError:
                state = None
            if state is None or state.st_size != size or not stat.S_ISREG(state.st_mode):
                self[number].check_size()


def shards_in(folder: Path, found: Sequence[Shard]) -> Shards:
    """Returns shards that lie in one folder, in columns."""
    digests = tables.Digests(len(found))
    for number, shard in enumerate(found):
        digests.put(number, shard.sha256, shard.path)
    names = np.array([shard.name.encode() for shard in found])
    values = {
        "records": np.array([shard.records for shard in found], np.int64),
        "bytes": np.array([shard.bytes for shard in found], np.int64),
        "sha256": digests.column(),
    }
    return Shards(folder, tables.rows_of(names, COLUMNS, values))


def shards_of(folder: Path, manifest: dict[str, Any]) -> Shards:
    """Returns the shards that a data set's manifest tells of."""
    path = folder / artefacts.MANIFEST
    if isinstance(manifest.get("shards"), dict):
        return shards_by_table(folder, manifest["shards"])
    return listed_shards(folder, field(manifest, "shards", list, path))


def shards_by_table(folder: Path, facts: dict[str, Any]) -> Shards:
    """Returns the shards of a table, or those rows of it that are a view's."""
    where = folder / artefacts.MANIFEST
    name = field(facts, "table", str, where)
    if name not in (artefacts.TABLE, f"../{artefacts.TABLE}"):
        raise InputError(f"{where} says that its shards are in {name!r}, where they cannot be")
    path = stores.joined(folder, name)
    table = tables.read_table(path, facts, COLUMNS, KIND)
    rows = table.rows
    impossible = (rows["records"] <= 0) | (rows["records"] > rows["bytes"] // SMALLEST_RECORD)
    if impossible.any():
        number = int(np.argmax(impossible))
        raise InputError(
            f"{table.where(number)}: {rows['records'][number]:,} records cannot lie in "
            f"{rows['bytes'][number]:,} bytes"
        )
    stretches = field(facts, "rows", list, where)
    if not are_stretches(stretches, len(rows)):
        raise InputError(f"{where}: 'rows' are not stretches of the {len(rows):,} of {path}")
    if stretches != [[0, len(rows)]]:
        rows = np.concatenate([rows[first:last] for first, last in stretches])
    return Shards(path.parent / FOLDER, rows)


def are_stretches(found: list[Any], count: int) -> bool:
    """Tells whether these are [first, last + 1] of so many rows, and none is in two of them."""
    for each in found:
        if not isinstance(each, list) or [type(number) for number in each] != [int, int]:
            return False
    end = 0
    for first, last in sorted(found):
        if not end <= first < last <= count:
            return False
        end = last
    return end > 0


def listed_shards(folder: Path, entries: list[Any]) -> Shards:
    """Returns the shards that a manifest of an earlier version lists."""
    path = folder / artefacts.MANIFEST
    found = []
    names = set()
    for place, entry in enumerate(entries, 1):
        where = f"{path}, shard {place}"
        name = field(entry, "path", str, where)
        size = field(entry, "bytes", int, where)
        if not SHARD_PATH.fullmatch(name):
            raise InputError(f"{path} names a shard outside the data set: {name!r}")
        records = field(entry, "records", int, where)
        if not 0 < records * SMALLEST_RECORD <= size:
            raise InputError(f"{where}: {records:,} records cannot lie in {size:,} bytes")
        sha256 = field(entry, "sha256", str, where)
        names.add(name)
        tables.digest_of(sha256, where)
        found.append(Shard(path=Path(name), records=records, bytes=size, sha256=sha256))
    folders = {str(PurePosixPath(name).parent) for name in names}
    if not found or len(names) < len(found) or len(folders) > 1:
        raise InputError(f"{path} names no shard, or one of them twice, or those of two folders")
    return shards_in(stores.joined(folder, folders.pop()), found)
