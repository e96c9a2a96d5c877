"""Makes a data set of images: TFRecord shards, and a manifest for each view of them."""

import json
import shutil
from pathlib import Path
from typing import Any

from bct_keras import artefacts, processes, specs
from bct_keras.data import records
from bct_keras.prepare import writing
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.sources.source import Source
from bct_keras.prepare.splits import SPLITS, Division, View, identities_within
from bct_keras.printable import line
from bct_keras.untrusted.json_files import field

LISTED_SKIPPED = 20


def prepare(
    source_spec: str,
    split_spec: str,
    out: Path,
    seed: int | None = None,
    on_bad: str = "fail",
    limit: int = 0,
    process_count: int = 0,
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
        process_count: How many processes work at it; 0 is one for each core.
    """
    source: Source = specs.build(SOURCES, source_spec)
    split = specs.build(SPLITS, split_spec)
    made_from: dict[str, Any] = {
        "source": source_spec,
        "source_fingerprint": source.fingerprint(),
        "split": split_spec,
        "seed": seed_of(out) if seed is None else seed,
        "on_bad": on_bad,
        "limit": limit or None,
    }
    with artefacts.making(out, records.KIND, made_from, resume=True) as folder:
        if folder is None:
            return f"{line(out)} is up to date: {summary(out)}"
        wanted = min(limit or len(source.labels), len(source.labels))
        place = writing.Workplace(source, folder, process_count or processes.cores())
        look_at = writing.check if on_bad == "skip" else writing.unchecked
        checked = look_at(place, wanted)
        of_all = groups_of(source, checked)
        first, last = identities_within(split.within, len(checked.kept), of_all)
        checked = checked.between(first, last)
        groups = groups_of(source, checked)
        division = split.divide(checked.labels, len(checked.kept), groups)
        plans = writing.plan_shards(division, made_from["seed"])
        shards = writing.write_shards(place, checked, plans)
        write_names(place, checked)
        write_manifests(place, division, checked, shards=shards, made_from=made_from)
        shutil.rmtree(place.results)
    return f"{line(out)} written: {summary(out)}{passed_over(source)}"


def groups_of(source: Source, checked: writing.Checked) -> list[str] | None:
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


def write_names(place: writing.Workplace, checked: writing.Checked) -> None:
    """Writes what people call the identities, in the order of their labels; where they do."""
    if place.source.has_names:
        identities = [place.source.identities[number] for number in checked.kept.tolist()]
        text = json.dumps({"names": identities}, ensure_ascii=False, indent=0) + "\n"
        (place.folder / records.NAMES).write_text(text, encoding="utf-8")


def write_manifests(
    place: writing.Workplace,
    division: Division,
    checked: writing.Checked,
    shards: list[dict[str, Any]],
    made_from: dict[str, Any],
) -> None:
    """Writes the manifest of the whole data set, and one for each view."""
    whole = View(tuple(sorted(division.parts)), 0, len(checked.kept))
    for name, view in {"": whole, **division.views}.items():
        (place.folder / name).mkdir(exist_ok=True)
        way_up = "../" if name else ""
        names = {"names": way_up + records.NAMES} if place.source.has_names else {}
        found = []
        for part in view.parts:
            found += [shard for shard in shards if shard["name"].startswith(f"{part}-")]
        artefacts.write_manifest(
            place.folder / name,
            records.KIND,
            made_from,
            records=sum(shard["records"] for shard in found),
            classes=view.identities,
            first_identity=view.first_identity,
            image_size=place.source.image_size,
            same_size=all(shard["same_size"] for shard in shards),
            upright=all(shard["upright"] for shard in shards),
            shards=[manifest_entry(shard, way_up) for shard in found],
            views=[] if name else sorted(division.views),
            skipped=checked.skipped,
            **names,
        )


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


def passed_over(source: Source) -> str:
    """Returns a line on files that are no images, where there are some."""
    found = source.passed_over
    if not found:
        return ""
    what = f"{len(found)}, such as {line(found[0])}"
    return f"\npassed over, as no image that can be read: {what}"
