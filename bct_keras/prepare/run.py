"""Makes a data set of images: TFRecord shards, and a manifest for each view of them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, specs, stores
from bct_keras.artefacts import tables
from bct_keras.data import records
from bct_keras.data.shard_list import COLUMNS, ENDING, FOLDER
from bct_keras.engines import RESULTS, Crew, Engine, Job, Part, Piece, Result, make
from bct_keras.prepare import looking, writing
from bct_keras.prepare.made import made_before
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.sources.source import Source
from bct_keras.prepare.splits import SPLITS, Division, View, identities_within
from bct_keras.prepare.telling import passed_over, summary
from bct_keras.prepare.workplace import Look, Workplace
from bct_keras.printable import line
from bct_keras.untrusted.json_files import field


def prepare(
    source_spec: str,
    split_spec: str,
    out: Path,
    seed: int | None = None,
    on_bad: str = "fail",
    limit: int = 0,
    engine: Engine | None = None,
    part: Part | None = None,
) -> str:
    """Makes a data set, where it is not there yet; returns one line that says what is there now.

    Args:
        source_spec: Where the images come from, such as `folder(photos)`.
        split_spec: How they are divided, such as `class(test_share=0.2)`.
        out: The folder to make.
        seed: What the places of records in shards depend on; without it that of the data set that
            is there, or 0.
        on_bad: What to do with an image that cannot be used, `fail` or `skip`.
        limit: So many images alone, the first in file order; 0 is all.
        engine: What does the work; by default one process for each core.
        part: The part of the work to do, where others do the other parts; None is all.
    """
    source: Source = specs.build(SOURCES, source_spec)
    made_from: dict[str, Any] = {
        "source": source_spec,
        "source_fingerprint": source.fingerprint(),
        "split": split_spec,
        "seed": seed_of(out) if seed is None else seed,
        "on_bad": on_bad,
        "limit": limit or None,
    }
    data_set = PreparedData(source, specs.build(SPLITS, split_spec), made_from)
    made = make(out, data_set, engine, part)
    said = made.told(line(out), part)
    if made.state == "part":
        return said
    more = passed_over(source) if made.state == "written" else ""
    return f"{said}: {summary(out)}{more}"


class PreparedData:
    """A data set that is made of a source's images."""

    kind = records.KIND

    def __init__(self, source: Source, split: Any, made_from: dict[str, Any]):
        self.source = source
        self.split = split
        self.made_from = made_from
        self.planned: Planned | None = None

    def plan(self, folder: Path, crew: Crew) -> Job:
        """Looks at the images where that decides on labels; returns the job of the shards."""
        place = Workplace(
            self.source, self.made_from["source"], self.made_from["source_fingerprint"], folder
        )
        images = len(self.source.labels)
        wanted = min(self.made_from["limit"] or images, images)
        look_at = looking.check if self.made_from["on_bad"] == "skip" else looking.unchecked
        checked = look_at(place, wanted, crew)
        of_all = groups_of(self.source, checked)
        first, last = identities_within(self.split.within, len(checked.kept), of_all)
        checked = checked.between(first, last)
        groups = groups_of(self.source, checked)
        division = self.split.divide(checked.labels, len(checked.kept), groups)
        pieces = writing.plan_shards(checked, division, self.made_from["seed"])
        names = [piece.name for piece in pieces]
        tables.check_size(names, COLUMNS)
        self.planned = Planned(checked, division, names)
        return writing.shards_job(place, checked, pieces)

    def check_before(self) -> None:
        """Has nothing to look at: each image is read when it is written."""

    def commit(self, folder: Path, results: Iterable[tuple[int, Result]]) -> None:
        """Writes the table, the manifest of each view, and that of the whole as the last."""
        assert self.planned is not None
        found = listed(self.planned.names, results, folder)
        made = made_before(folder, self.made_from)
        artefacts.remove_unplaced(folder / FOLDER)
        checked = self.planned.checked
        has_names = made.names if made else self.source.has_names
        if has_names and stores.size_of(folder / records.NAMES) is None:
            self.write_names(folder / records.NAMES, checked)
        views = self.planned.division.views
        missing = []
        for name in (*views, ""):
            if not made or stores.size_of(folder / name / artefacts.MANIFEST) is None:
                missing.append(name)
        if not missing:
            return
        if made and not made.by_table:  # an earlier version's: all of them tell of the table now
            missing = [*views, ""]
        facts = tables.write_table(folder, found.rows)
        for name in missing:
            self.write_manifest(folder, name, found, facts, has_names)

    def write_manifest(
        self, folder: Path, name: str, found: "Listed", facts: dict[str, Any], has_names: bool
    ) -> None:
        """Writes the manifest of a view, or of the whole, whose name is empty."""
        assert self.planned is not None
        division = self.planned.division
        whole = View(tuple(sorted(division.parts)), 0, len(self.planned.checked.kept))
        view = division.views[name] if name else whole
        stores.make_folder(folder / name)
        way_up = "../" if name else ""
        names = {"names": way_up + records.NAMES} if has_names else {}
        stretches = found.stretches(view.parts)
        images = [found.rows["records"][first:last].sum() for first, last in stretches]
        write = artefacts.write_manifest if name else artefacts.write_listing
        write(
            folder / name,
            records.KIND,
            self.made_from,
            records=int(sum(images)),
            classes=view.identities,
            first_identity=view.first_identity,
            image_size=self.source.image_size,
            same_size=found.look.same_size,
            upright=found.look.upright,
            shards={**facts, "table": way_up + artefacts.TABLE, "rows": stretches},
            views=[] if name else sorted(division.views),
            skipped=self.planned.checked.skipped,
            **names,
        )

    def write_names(self, path: Path, checked: looking.Checked) -> None:
        """Writes what people call the identities, in the order of their labels."""
        identities = [self.source.identities[number] for number in checked.kept.tolist()]
        text = json.dumps({"names": identities}, ensure_ascii=False, indent=0) + "\n"
        with artefacts.placing(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def lost(self, out: Path) -> list[str]:
        """Returns the files of a data set that are gone or cut off, its own manifest too."""
        made = made_before(out, self.made_from)
        if not made:
            return []
        sizes = stores.sizes_in(out)
        found = []
        if made.names and records.NAMES not in sizes:
            found.append(records.NAMES)
        for name in (artefacts.MANIFEST, *(f"{view}/{artefacts.MANIFEST}" for view in made.views)):
            if name not in sizes:
                found.append(name)
        stated = made.shards.rows["bytes"].tolist()
        for name, size in zip(made.shards.names(), stated, strict=True):
            file = f"{FOLDER}/{name}{ENDING}"
            if sizes.get(file) != size:
                found.append(file)
        return found

    def results_of(self, out: Path, pieces: Sequence[Piece]) -> Iterator[Result]:
        """Yields the entry of each shard."""
        made = made_before(out, self.made_from)
        assert made is not None, "something was lost of it"
        return made.results(pieces)

    def is_same(self, found: Result, expected: Result) -> bool:
        """Tells whether a shard that was written again has the same bytes."""
        return found["sha256"] == expected["sha256"]

    def is_there(self, out: Path, piece: Piece, result: Result) -> bool:
        """Tells whether a shard is there in its length."""
        return stores.size_of(out / FOLDER / f"{piece.name}{ENDING}") == result["bytes"]


@dataclass(frozen=True)
class Planned:
    """What a data set's manifests are to say, besides what the shards tell."""

    checked: looking.Checked
    division: Division
    names: list[str]  # of the shards, those of a part one after the other


@dataclass(frozen=True)
class Listed:
    """All shards, as the table is to have them."""

    rows: np.ndarray  # [shards]
    look: Look

    def stretches(self, parts: Sequence[str]) -> list[list[int]]:
        """Returns [first, last + 1] of the rows of the parts; one stretch where two meet."""
        found: list[list[int]] = []
        for part in parts:
            numbers = np.flatnonzero(np.char.startswith(self.rows["name"], f"{part}-".encode()))
            if not len(numbers):
                continue
            first, last = int(numbers[0]), int(numbers[-1]) + 1
            if found and found[-1][1] == first:
                found[-1][1] = last
            else:
                found.append([first, last])
        return found


def listed(names: list[str], results: Iterable[tuple[int, Result]], folder: Path) -> Listed:
    """Returns the shards of these names by what was found of each, in any order."""
    counts = np.zeros(len(names), np.int64)
    sizes = np.zeros(len(names), np.int64)
    digests = tables.Digests(len(names))
    look = Look()
    beside = folder / RESULTS
    for number, result in results:
        where = f"{beside}/{names[number]}.json"
        counts[number] = field(result, "records", int, where)
        sizes[number] = field(result, "bytes", int, where)
        digests.put(number, field(result, "sha256", str, where), where)
        look.add(
            Look(
                same_size=field(result, "same_size", bool, where),
                upright=field(result, "upright", bool, where),
            )
        )
    values = {"records": counts, "bytes": sizes, "sha256": digests.column()}
    rows = tables.rows_of(np.array([name.encode() for name in names]), COLUMNS, values)
    return Listed(rows, look)


def groups_of(source: Source, checked: looking.Checked) -> list[str] | None:
    """Returns the group of each identity whose records are used; None where there are none."""
    if not source.groups:
        return None
    return [source.groups[identity] for identity in checked.kept.tolist()]


def seed_of(out: Path) -> int:
    """Returns the seed of the data set that is there, on which its shards depend, or else 0."""
    if artefacts.kind_of(out) != records.KIND:
        return 0
    manifest = artefacts.read_manifest(out, records.KIND)
    return manifest["made_from"].get("seed", 0)
