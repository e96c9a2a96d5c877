"""The shards of a data set: which record goes where, and how each is written.

Each leaves a file with its entry, so that a command that was killed does not write it again.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.data import records
from bct_keras.engines import Job, Piece, Report, Result
from bct_keras.errors import BadImageError
from bct_keras.prepare.looking import Checked
from bct_keras.prepare.splits import Division
from bct_keras.prepare.workplace import RECORDS_PER_REPORT, Look, Workplace, unusable

RECORDS_PER_SHARD = 8192


@dataclass(frozen=True)
class ShardRows:
    """The records of a shard, in the order in which they are written."""

    positions: np.ndarray  # [records] in file order
    labels: np.ndarray  # [records]


def plan_shards(checked: Checked, division: Division, seed: int) -> list[Piece]:
    """Returns which record goes where, which depends on the seed alone."""
    random = np.random.default_rng(seed)
    pieces = []
    for part in sorted(division.parts):
        part_number = division.parts.index(part)
        rows = np.flatnonzero(division.part_of == part_number)
        if not len(rows):
            continue
        shards = -(-len(rows) // RECORDS_PER_SHARD)
        for index, of_shard in enumerate(np.array_split(random.permutation(rows), shards)):
            content = ShardRows(checked.positions[of_shard], checked.labels[of_shard])
            pieces.append(Piece(f"{part}-{index:05d}", len(of_shard), content))
    return pieces


def shards_job(place: Workplace, checked: Checked, pieces: list[Piece]) -> Job:
    """Returns the job that writes all shards; its results are their manifest entries."""
    stores.make_folder(place.folder / "shards")
    return place.job("writing shards", Writer(place, checked.look), pieces)


@dataclass(frozen=True)
class Writer:
    """Writes shards."""

    place: Workplace
    look: Look | None  # what is true of all images; None: each is looked at when it is written

    def opener(self) -> Callable[[], "Writer"]:
        """Returns what opens the source again."""
        return partial(open_writer, self.place.opener, self.look)

    def do(self, piece: Piece, report: Report) -> Result:
        """Writes a shard beside its place and renames it; returns its entry."""
        path = self.path(piece)
        look = self.look or Look()
        try:
            with artefacts.placing(path) as beside:
                size, sha256 = records.write_frames(beside, self.frames(piece, look, report))
        except BadImageError as bad:
            raise unusable(bad) from None
        except OSError as error:  # such as a full disk, of which Python names no file
            error.filename = error.filename or str(path)
            raise
        return {
            "name": path.stem,
            "records": piece.size,
            "bytes": size,
            "sha256": sha256,
            **asdict(look),
        }

    def is_whole(self, piece: Piece, result: Result) -> bool:
        """Tells whether a shard is as an earlier command has written it.

        A power cut may have taken what was written last: only the hash tells.
        """
        path = self.path(piece)
        for asked in fields(Look):
            if asked.name not in result:  # an earlier version asked for less
                return False
        return stores.size_of(path) is not None and artefacts.file_sha256(path) == result.get(
            "sha256"
        )

    def path(self, piece: Piece) -> Path:
        """Returns the place of a shard."""
        return self.place.folder / "shards" / f"{piece.name}.tfrecord"

    def frames(self, piece: Piece, look: Look, report: Report) -> Iterator[records.Frame]:
        """Yields the records of a shard as they are written; adds to `look` what is seen."""
        rows: ShardRows = piece.content
        for first in range(0, piece.size, RECORDS_PER_REPORT):
            positions = rows.positions[first : first + RECORDS_PER_REPORT].tolist()
            labels = rows.labels[first : first + RECORDS_PER_REPORT].tolist()
            read = self.place.source.read_several(positions)
            for record, label in zip(read, labels, strict=True):
                if isinstance(record, BadImageError):
                    raise record
                if self.look is None:
                    look.add(self.place.inspect(record.image, record.id))
                yield records.framed(record.image, label, record.id.encode())
            report(len(positions))


def open_writer(opener: Callable[[], Workplace], look: Look | None) -> Writer:
    """Returns the writer in another process."""
    return Writer(opener(), look)
