"""The part of `prepare` that is divided over processes: checking images and writing shards.

Each piece of it leaves a file with its result, so that a command that was killed does not do it
again.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, processes, progress
from bct_keras.data import image_check, image_header, records
from bct_keras.errors import BadImageError, InputError, option
from bct_keras.prepare.sources.source import Source
from bct_keras.prepare.splits import Division
from bct_keras.untrusted.json_files import read_object

RECORDS_PER_SHARD = 8192
RECORDS_PER_CHECK = 8192
RECORDS_PER_REPORT = 128
RECORDS_WORTH_A_PROCESS = 1024

Report = Callable[[int], object]


@dataclass
class Look:
    """What is true of all images that were looked at."""

    same_size: bool = True  # they have the source's image size
    upright: bool = True  # none has an Exif orientation

    def add(self, other: "Look") -> None:
        """Adds what is true of others."""
        if not other.same_size:
            self.same_size = False
        if not other.upright:
            self.upright = False


@dataclass(frozen=True)
class Checked:
    """The records of a source that can be used, identities without any left out."""

    positions: np.ndarray  # [records] in file order
    labels: np.ndarray  # [records]
    kept: np.ndarray  # [identities] their numbers in the source
    look: Look | None  # None: nothing was looked at yet
    skipped: list[str]  # what was wrong with the others

    def between(self, first: int, last: int) -> "Checked":
        """Returns the records of the identities from `first` on and before `last`."""
        if first == 0 and last == len(self.kept):
            return self
        rows = np.flatnonzero((self.labels >= first) & (self.labels < last))
        return replace(
            self,
            positions=self.positions[rows],
            labels=self.labels[rows] - first,
            kept=self.kept[first:last],
        )


@dataclass(frozen=True)
class ShardPlan:
    """Which records go into a shard."""

    name: str
    rows: np.ndarray  # [records] of `Checked`


@dataclass(frozen=True)
class Workplace:
    """Where a data set is made, from what, and by how many processes."""

    source: Source
    folder: Path  # the data set's, while it is made
    processes: int

    @property
    def results(self) -> Path:
        """The folder of what is done, which a later command finds."""
        return self.folder / ".results"

    def run(
        self, work: Callable[[Any, Report], Any], tasks: list, what: str, total: int
    ) -> list[Any]:
        """Returns the results of all tasks, in their order."""
        self.results.mkdir(exist_ok=True)
        worth_it = total // RECORDS_WORTH_A_PROCESS
        count = max(min(self.processes, worth_it), 1)
        with progress.bar(what, total) as bar:
            done = dict(processes.run(work, tasks, count, bar.update))
        return [done[number] for number in range(len(tasks))]

    def inspect(self, image: bytes, name: str) -> Look:
        """Looks at an image; raises BadImageError where it cannot be used."""
        if self.source.decode_to_check:
            size = image_check.inspect(image, name)
        else:
            size = image_header.size_of(image, name)
        return Look(
            same_size=size.width == size.height == self.source.image_size,
            upright=image_header.orientation_of(image) == 1,
        )


def usable(
    labels: np.ndarray, is_usable: np.ndarray, look: Look | None, skipped: list[str]
) -> Checked:
    """Returns the records that can be used, with identities numbered anew.

    Raises where they are too few.
    """
    positions = np.flatnonzero(is_usable)
    labels = labels[positions]
    present = np.bincount(labels) > 0
    kept = np.flatnonzero(present)
    if len(kept) < 2:
        raise InputError(
            f"images of {len(kept)} identities can be used; at least 2 identities are needed"
        )
    new_number = np.cumsum(present) - 1
    return Checked(
        positions=positions,
        labels=new_number[labels],
        kept=kept,
        look=look,
        skipped=skipped,
    )


def check(place: Workplace, records_wanted: int) -> Checked:
    """Looks at every image before any is written, since which are left out decides on labels."""

    def work(start: int, report: Report) -> dict[str, Any]:
        stop = min(start + RECORDS_PER_CHECK, records_wanted)
        path = place.results / f"look-{start:09d}.json"
        if path.is_file():
            report(stop - start)
        else:
            found = check_range(place, start, stop, report)
            artefacts.write_atomically(path, json.dumps(found))
        return read_object(path)

    starts = list(range(0, records_wanted, RECORDS_PER_CHECK))
    is_usable = np.ones(records_wanted, bool)
    skipped = list(place.source.broken)
    look = Look()
    for result in place.run(work, starts, "checking images", records_wanted):
        is_usable[result["bad"]] = False
        skipped += result["reasons"]
        look.add(Look(**result["look"]))
    labels = place.source.labels[:records_wanted]
    return usable(labels, is_usable, look, skipped)


def check_range(place: Workplace, start: int, stop: int, report: Report) -> dict[str, Any]:
    """Looks at the images from `start` to `stop`."""
    look = Look()
    bad: list[int] = []
    reasons: list[str] = []
    unreported = 0
    for position in range(start, stop):
        try:
            record = place.source.read(position)
            look.add(place.inspect(record.image, record.id))
        except BadImageError as error:
            bad.append(position)
            reasons.append(str(error))
        unreported += 1
        if unreported == RECORDS_PER_REPORT or position + 1 == stop:
            report(unreported)
            unreported = 0
    return {"look": asdict(look), "bad": bad, "reasons": reasons}


def unchecked(place: Workplace, records_wanted: int) -> Checked:
    """Returns all records as usable.

    Each is looked at when it is written, and the first bad one ends the command.
    """
    broken = place.source.broken
    if broken:
        more = f" (the first of {len(broken)})" if len(broken) > 1 else ""
        raise unusable(broken[0] + more)
    labels = place.source.labels[:records_wanted]
    return usable(labels, np.ones(records_wanted, bool), look=None, skipped=[])


def unusable(reason: object) -> InputError:
    """Returns the error of an image that cannot be used, with what to do."""
    skip = option("on_bad", "skip")
    return InputError(reason, f"mend or remove it, or go on without such images by {skip}")


def plan_shards(division: Division, seed: int) -> list[ShardPlan]:
    """Returns which record goes where, which depends on the seed alone."""
    random = np.random.default_rng(seed)
    plans = []
    for part in sorted(division.parts):
        part_number = division.parts.index(part)
        rows = np.flatnonzero(division.part_of == part_number)
        if not len(rows):
            continue
        shards = -(-len(rows) // RECORDS_PER_SHARD)
        pieces = np.array_split(random.permutation(rows), shards)
        for index, piece in enumerate(pieces):
            plans.append(ShardPlan(name=f"{part}-{index:05d}", rows=piece))
    return plans


def write_shards(
    place: Workplace, checked: Checked, plans: list[ShardPlan]
) -> list[dict[str, Any]]:
    """Writes all shards; returns their manifest entries."""
    (place.folder / "shards").mkdir(exist_ok=True)

    def work(plan: ShardPlan, report: Report) -> dict[str, Any]:
        path = place.folder / "shards" / f"{plan.name}.tfrecord"
        found = written_before(place, path)
        if found:
            report(len(plan.rows))
            return found
        try:
            return write_shard(place, checked, plan.rows, path, report)
        except BadImageError as bad:
            raise unusable(bad) from None
        except OSError as error:  # such as a full disk, of which Python names no file
            error.filename = error.filename or str(path)
            raise

    return place.run(work, plans, "writing shards", len(checked.labels))


def written_before(place: Workplace, path: Path) -> dict[str, Any] | None:
    """Returns the entry of a shard that an earlier command has written; None where it is not whole.

    A power cut may have taken what was written last: only the hash tells.
    """
    result = place.results / f"{path.stem}.json"
    if not path.is_file() or not result.is_file():
        return None
    entry = read_object(result)
    for asked in fields(Look):
        if asked.name not in entry:  # an earlier version asked for less
            return None
    if artefacts.file_sha256(path) != entry.get("sha256"):
        return None
    return entry


def write_shard(
    place: Workplace, checked: Checked, rows: np.ndarray, path: Path, report: Report
) -> dict[str, Any]:
    """Writes 1 the shard beside its place, 2 renames it, 3 writes its entry; returns the entry."""
    look = Look() if checked.look is None else checked.look
    partial = path.with_suffix(".partial")
    size, sha256 = records.write_frames(partial, frames(place, checked, rows, look, report))
    os.replace(partial, path)
    entry = {
        "name": path.stem,
        "records": len(rows),
        "bytes": size,
        "sha256": sha256,
        **asdict(look),
    }
    artefacts.write_atomically(place.results / f"{path.stem}.json", json.dumps(entry))
    return entry


def frames(
    place: Workplace, checked: Checked, rows: np.ndarray, look: Look, report: Report
) -> Iterator[records.Frame]:
    """Yields the records of a shard as they are written."""
    read = place.source.read
    for first in range(0, len(rows), RECORDS_PER_REPORT):
        piece = rows[first : first + RECORDS_PER_REPORT]
        positions = checked.positions[piece].tolist()
        labels = checked.labels[piece].tolist()
        for position, label in zip(positions, labels, strict=True):
            record = read(position)
            if checked.look is None:
                look.add(place.inspect(record.image, record.id))
            yield records.framed(record.image, label, record.id.encode())
        report(len(piece))
