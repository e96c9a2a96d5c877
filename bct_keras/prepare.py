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
        checked = (
            writing.check(place, wanted) if on_bad == "skip" else writing.unchecked(place, wanted)
        )
        groups = (
            [source.groups[identity] for identity in checked.kept.tolist()]
            if source.groups
            else None
        )
        division = split.divide(checked.labels, len(checked.kept), groups)
        shards = writing.write_shards(
            place, checked, writing.plan_shards(division, made_from["seed"])
        )
        write_manifests(place, division, len(checked.kept), shards, checked.skipped, made_from)
        shutil.rmtree(place.results)
    return f"{line(out)} written: {summary(out)}{passed_over(source)}"


def seed_of(out: Path) -> int:
    """By which the records of the data set that is there were put into shards; 0 where there is none yet."""
    if artefacts.kind_of(out) != records.KIND:
        return 0
    return artefacts.read_manifest(out, records.KIND)["made_from"].get("seed", 0)


def write_manifests(
    place: writing.Workplace,
    division: Division,
    identities: int,
    shards: list[dict[str, Any]],
    skipped: list[str],
    made_from: dict[str, Any],
) -> None:
    whole = View(tuple(sorted(division.parts)), 0, identities)
    for name, view in {"": whole, **division.views}.items():
        (place.folder / name).mkdir(exist_ok=True)
        found = [
            shard for part in view.parts for shard in shards if shard["name"].startswith(f"{part}-")
        ]
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
            skipped=skipped,
        )


def manifest_entry(shard: dict[str, Any], way_up: str) -> dict[str, Any]:
    path = f"{way_up}shards/{shard['name']}.tfrecord"
    return {"path": path, **{fact: shard[fact] for fact in ("records", "bytes", "sha256")}}


def summary(out: Path) -> str:
    manifest, where = artefacts.read_manifest(out, records.KIND), out / artefacts.MANIFEST
    views, skipped = (field(manifest, key, list, where) for key in ("views", "skipped"))
    images, identities = (field(manifest, key, int, where) for key in ("records", "classes"))
    text = f"{images:,} images of {identities:,} identities"
    if views:
        text += f", views {', '.join(map(line, views))}"
    if skipped:
        text += "\n  ".join([f"\n{len(skipped)} images left out:", *map(line, skipped[:20])])
    return text


def passed_over(source: Source) -> str:
    found = source.passed_over
    return (
        f"\npassed over, as no image that can be read: {len(found)}, such as {line(found[0])}"
        if found
        else ""
    )


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
    out = Path(command.required("out"))
    print(
        prepare(
            command.required("source"),
            FLAGS.split,
            out,
            FLAGS.seed,
            FLAGS.on_bad,
            FLAGS.limit,
            FLAGS.processes,
        )
    )


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
