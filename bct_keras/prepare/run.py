"""Makes a data set of images: TFRecord shards, and a manifest for each view of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bct_keras import artefacts, specs, stores
from bct_keras.data import amount, records
from bct_keras.engines import Crew, Engine, Job, Part, Result, make
from bct_keras.prepare import looking, writing
from bct_keras.prepare.made import made_before
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.sources.source import Source
from bct_keras.prepare.splits import SPLITS, Division, View, identities_within
from bct_keras.prepare.workplace import Workplace
from bct_keras.printable import command_line, line
from bct_keras.progress import Outcome
from bct_keras.untrusted.json_files import field

LISTED_SKIPPED = 20


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
        self.planned = Planned(checked, division)
        pieces = writing.plan_shards(checked, division, self.made_from["seed"])
        return writing.shards_job(place, checked, pieces)

    def check_before(self) -> None:
        """Has nothing to look at: each image is read when it is written."""

    def commit(self, folder: Path, results: list[Result]) -> None:
        """Writes the manifest of each view, and that of the whole data set as the last."""
        assert self.planned is not None
        made = made_before(folder, self.made_from)
        artefacts.remove_unplaced(folder / "shards")
        checked = self.planned.checked
        has_names = made.names if made else self.source.has_names
        if has_names and stores.size_of(folder / records.NAMES) is None:
            self.write_names(folder / records.NAMES, checked)
        whole = View(tuple(sorted(self.planned.division.parts)), 0, len(checked.kept))
        views = self.planned.division.views
        for name, view in {**views, "": whole}.items():
            if made and stores.size_of(folder / name / artefacts.MANIFEST) is not None:
                continue
            stores.make_folder(folder / name)
            way_up = "../" if name else ""
            names = {"names": way_up + records.NAMES} if has_names else {}
            found = []
            for part in view.parts:
                found += [shard for shard in results if shard["name"].startswith(f"{part}-")]
            artefacts.write_manifest(
                folder / name,
                records.KIND,
                self.made_from,
                records=sum(shard["records"] for shard in found),
                classes=view.identities,
                first_identity=view.first_identity,
                image_size=self.source.image_size,
                same_size=all(shard["same_size"] for shard in results),
                upright=all(shard["upright"] for shard in results),
                shards=[manifest_entry(shard, way_up) for shard in found],
                views=[] if name else sorted(views),
                skipped=checked.skipped,
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
        for entry in made.shards.values():
            if sizes.get(f"shards/{entry['name']}.tfrecord") != entry["bytes"]:
                found.append(f"shards/{entry['name']}.tfrecord")
        return found

    def results_of(self, out: Path) -> dict[str, Result]:
        """Returns the entry of each shard, by its name."""
        made = made_before(out, self.made_from)
        return made.shards if made else {}

    def is_same(self, found: Result, expected: Result) -> bool:
        """Tells whether a shard that was written again has the same bytes."""
        return found["sha256"] == expected["sha256"]

    def is_there(self, out: Path, result: Result) -> bool:
        """Tells whether a shard is there in its length."""
        return stores.size_of(out / "shards" / f"{result['name']}.tfrecord") == result["bytes"]


@dataclass(frozen=True)
class Planned:
    """What a data set's manifests are to say, besides what the shards tell."""

    checked: looking.Checked
    division: Division


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


def manifest_entry(shard: dict[str, Any], way_up: str) -> dict[str, Any]:
    """Returns what a manifest says of a shard; `way_up` leads from a view to the whole data set."""
    return {
        "path": f"{way_up}shards/{shard['name']}.tfrecord",
        "records": shard["records"],
        "bytes": shard["bytes"],
        "sha256": shard["sha256"],
    }


def summary(out: Path) -> str:
    """Returns what the manifest says is there."""
    manifest = artefacts.read_manifest(out, records.KIND)
    where = out / artefacts.MANIFEST
    views = field(manifest, "views", list, where)
    skipped = field(manifest, "skipped", list, where)
    images = field(manifest, "records", int, where)
    identities = field(manifest, "classes", int, where)
    text = f"{images:,} images of {identities:,} identities"
    if views:
        names = [line(view) for view in views]
        text += f", views {', '.join(names)}"
    if skipped:
        text += f"\n{len(skipped)} images left out:"
        for reason in skipped[:LISTED_SKIPPED]:
            text += f"\n  {line(reason)}"
    return text


def outcome(said: str, out: Path) -> Outcome:
    """Returns what is told of a data set, of which there may be a part alone.

    Args:
        said: What `prepare` says of it.
        out: Its folder.
    """
    if stores.size_of(out / artefacts.MANIFEST) is None:
        return Outcome(said, {"out": out})
    manifest = artefacts.read_manifest(out, records.KIND)
    where = out / artefacts.MANIFEST
    views = field(manifest, "views", list, where)
    facts = {
        "out": out,
        "images": field(manifest, "records", int, where),
        "identities": field(manifest, "classes", int, where),
        "views": views,
        "skipped": field(manifest, "skipped", list, where),
    }
    return Outcome(said, facts, [" ".join(what_follows(facts))])


def what_follows(facts: dict[str, Any]) -> list[str]:
    """Returns the command that goes on from a data set: what it is large enough for.

    DIMS are those of the old encoder OLD, and NEW is an encoder that has seen other images.
    """
    # `all` is what the encoders of a user have not seen; `new` is the new one's part in papers.
    view = "all" if "all" in facts["views"] else ""
    data = str(facts["out"] / view)
    if amount.is_small(facts["images"], facts["identities"]):
        flags = {"new": "NEW", "old": "OLD", "data": data, "out": "adapted/mine"}
        return command_line("adapt", flags)
    flags = {
        "flagfile": "configs/gallerycontrast.flags",
        "data": data,
        "old": "OLD",
        "dims": "DIMS",
        "workdir": "runs/mine",
    }
    return command_line("train", flags)


def passed_over(source: Source) -> str:
    """Returns a line on files that are no images, where there are some."""
    found = source.passed_over
    if not found:
        return ""
    what = f"{len(found)}, such as {line(found[0])}"
    return f"\npassed over, as no image that can be read: {what}"
