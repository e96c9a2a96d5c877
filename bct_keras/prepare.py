"""Makes a data set: images -> TFRecord shards and a manifest.

python -m bct_keras.prepare --source='folder(photos)' --out=data/mine
python -m bct_keras.prepare --source='synthetic(identities=500)' --split='class(test_share=0.2)' --out=data/demo

Sources: folder(PATH, image_size=112, group=TEXT), one sub-folder per identity;
recordio(DIR, image_size=0, decode=False), InsightFace's train.rec with its train.idx (or without: then the file is
searched) and property, which says the image size where it is 0; synthetic(identities=500, images=20, image_size=32,
seed=0), made by rule.

Splits: class(old_share=0.3, test_share=0, validation_share=0) gives the old encoder the first identities and the new
one the others; data(...), with the same shares, gives it the first images of each identity. Either makes the views
OUT/old, OUT/new, OUT/all, and, where their shares are not 0, OUT/test with the last identities, for the proof, and
OUT/validation with those before them, to choose an epoch by.

A data set of millions takes minutes: the work is divided over --processes, and after a kill the same command goes on
where it was. Records are read in random order; where the disk is slow at that, read a .rec file once before
(cat train.rec > /dev/null). Images of a folder are decoded to see whether they are whole; of the other sources only
headers and ends are looked at, unless recordio is given decode=True. --limit=1000 takes the first 1,000 images in file
order, for a first try.

python -m bct_keras.prepare --check=faces_ms1m

reads a data set or a RecordIO folder whole and reports images, identities, sizes, duplicates, and what is broken and
where, as far as headers and ends tell; the exit status is 0 where nothing is.
"""

import shutil
from pathlib import Path
from typing import Any

from absl import flags

from bct_keras import artefacts, command, processes, registry
from bct_keras.data import check, records, writing
from bct_keras.data.sources import SOURCES
from bct_keras.data.sources.source import Source
from bct_keras.data.splits import SPLITS, Division, View
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
    """Returns one line that says what is there now; without a `seed` it is that of the data set that is there, or 0."""
    source: Source = registry.build(SOURCES, source_spec)
    split = registry.build(SPLITS, split_spec)
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
        groups = None
        if source.groups:
            groups = [source.groups[identity] for identity in checked.kept.tolist()]
        division = split.divide(checked.labels, len(checked.kept), groups)
        plans = writing.plan_shards(division, made_from["seed"])
        shards = writing.write_shards(place, checked, plans)
        write_manifests(place, division, checked, shards=shards, made_from=made_from)
        shutil.rmtree(place.results)
    return f"{line(out)} written: {summary(out)}{passed_over(source)}"


def seed_of(out: Path) -> int:
    """Returns the seed of the data set that is there, which its shards depend on; 0 where there is none."""
    if artefacts.kind_of(out) != records.KIND:
        return 0
    return artefacts.read_manifest(out, records.KIND)["made_from"].get("seed", 0)


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
            shards=[manifest_entry(shard, "../" if name else "") for shard in found],
            views=[] if name else sorted(division.views),
            skipped=checked.skipped,
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
        text += f", views {', '.join(map(line, views))}"
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


def define_flags() -> None:
    flags.DEFINE_string("source", None, "where the images come from, as in folder(photos)")
    flags.DEFINE_string(
        "check", None, "instead of all else: a data set or RecordIO folder to read and report on"
    )
    flags.DEFINE_string("split", "none", "how they are divided: none, class(...) or data(...)")
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_integer(
        "seed", 0, "which record goes into which shard depends on this alone", lower_bound=0
    )
    flags.DEFINE_enum(
        "on_bad", "fail", ["fail", "skip"], "what to do with an image that cannot be used"
    )
    flags.DEFINE_integer(
        "limit", 0, "for a first try: only so many images, the first in file order", lower_bound=0
    )
    flags.DEFINE_integer(
        "processes",
        0,
        "how many work at it: 0 is one per core; the result is the same",
        lower_bound=0,
    )


def main() -> None:
    FLAGS = flags.FLAGS
    if FLAGS.check:
        check.check(Path(FLAGS.check), FLAGS.processes, command.say)
        return
    said = prepare(
        command.required("source"),
        FLAGS.split,
        Path(command.required("out")),
        seed=FLAGS.seed,
        on_bad=FLAGS.on_bad,
        limit=FLAGS.limit,
        process_count=FLAGS.processes,
    )
    print(said)


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
