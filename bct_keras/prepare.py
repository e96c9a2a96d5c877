"""Makes a data set: images -> TFRecord shards and a manifest.

python -m bct_keras.prepare --source='folder(photos)' --out=data/mine
python -m bct_keras.prepare --source='synthetic(identities=500)' --split='class(test_share=0.2)' --out=data/demo

Sources: folder(PATH, image_size=112, group=TEXT), one sub-folder per identity;
recordio(DIR, image_size=0), InsightFace's train.rec with its train.idx (or without: then the file is searched) and
property, which says the image size where it is 0; synthetic(identities=500, images=20, image_size=32, seed=0), made
by rule.

Splits: class(old_share=0.3, test_share=0) gives the old encoder the first identities and the new one the
others; data(old_share=0.3, test_share=0) gives it the first images of each identity. Either makes the
views OUT/old, OUT/new, OUT/all, and OUT/test with the last identities where test_share is not 0.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from bct_keras import artefacts, command, progress, registry
from bct_keras.data import dataset, images
from bct_keras.data.sources import SOURCES
from bct_keras.data.sources.source import Source
from bct_keras.data.splits import SPLITS, Division, View
from bct_keras.errors import BadImageError, InputError

RECORDS_PER_SHARD = 8192


@dataclass(frozen=True)
class Checked:
    """The records of a source that can be used, identities without any left out."""

    positions: np.ndarray  # [records] in file order
    labels: np.ndarray  # [records]
    identities: int
    groups: list[str] | None
    same_size: bool
    skipped: list[str]  # what was wrong with the others


def prepare(source_spec: str, split_spec: str, out: Path, seed: int = 0, on_bad: str = "fail") -> str:
    """Returns one line that says what is there now."""
    source: Source = registry.build(SOURCES, source_spec)
    split = registry.build(SPLITS, split_spec)
    made_from = {
        "source": source_spec,
        "source_fingerprint": source.fingerprint(),
        "split": split_spec,
        "seed": seed,
        "on_bad": on_bad,
    }
    if artefacts.is_current(out, dataset.KIND, made_from):
        return f"{out} is up to date: {summary(artefacts.read_manifest(out, dataset.KIND))}"
    checked = check(source, on_bad)
    division = split.divide(checked.labels, checked.identities, checked.groups)
    with artefacts.new_folder(out) as folder:
        shards = write_shards(source, checked, division.parts, folder / "shards", seed)
        write_manifests(folder, source, checked, division, shards, made_from)
    return f"{out} written: {summary(artefacts.read_manifest(out, dataset.KIND))}"


def check(source: Source, on_bad: str) -> Checked:
    usable = np.ones(len(source.labels), bool)
    sizes, skipped = set(), list(source.broken)
    if skipped and on_bad != "skip":
        raise InputError(f"{skipped[0]}\n{len(skipped)} such places; go on without them by --on_bad=skip")
    for position in progress.track(range(len(source.labels)), "checking images", len(source.labels)):
        try:
            record = source.read(position)
            size = images.inspect(record.image, record.id)
            sizes.add((size.width, size.height))
        except BadImageError as bad:
            if on_bad != "skip":
                raise InputError(f"{bad}\nremove it, or go on without such images by --on_bad=skip") from None
            usable[position] = False
            skipped.append(str(bad))
    positions = np.flatnonzero(usable)
    kept, labels = np.unique(source.labels[positions], return_inverse=True)
    if len(kept) < 2:
        raise InputError(f"images of {len(kept)} identities can be used; at least 2 identities are needed")
    groups = [source.groups[identity] for identity in kept] if source.groups else None
    same_size = sizes == {(source.image_size, source.image_size)}
    return Checked(positions, labels, len(kept), groups, same_size, skipped)


def write_shards(
    source: Source, checked: Checked, parts: np.ndarray, folder: Path, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """The manifest entries of each part's shards; which record goes where depends on the seed alone."""
    folder.mkdir()
    entries: dict[str, list[dict[str, Any]]] = {}
    random = np.random.default_rng(seed)
    written = progress.bar("writing shards", len(parts))
    for part in np.unique(parts):
        records = random.permutation(np.flatnonzero(parts == part))
        pieces = np.array_split(records, -(-len(records) // RECORDS_PER_SHARD))
        entries[str(part)] = []
        for index, piece in enumerate(pieces):
            path = folder / f"{part}-{index:05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in piece:
                    found = source.read(int(checked.positions[record]))
                    writer.write(dataset.encode_record(found.image, int(checked.labels[record]), found.id))
                    written.update()
            entries[str(part)].append(
                {
                    "path": f"shards/{path.name}",
                    "records": len(piece),
                    "bytes": path.stat().st_size,
                    "sha256": artefacts.file_sha256(path),
                }
            )
    written.close()
    return entries


def write_manifests(
    folder: Path,
    source: Source,
    checked: Checked,
    division: Division,
    shards: dict[str, list[dict[str, Any]]],
    made_from: dict[str, Any],
) -> None:
    whole = View(tuple(shards), 0, checked.identities)
    for name, view in {"": whole, **division.views}.items():
        (folder / name).mkdir(exist_ok=True)
        entries = [
            {**entry, "path": ("../" if name else "") + entry["path"]}
            for part in view.parts
            for entry in shards.get(part, [])
        ]
        artefacts.write_manifest(
            folder / name,
            dataset.KIND,
            made_from,
            records=sum(entry["records"] for entry in entries),
            classes=view.identities,
            first_identity=view.first_identity,
            image_size=source.image_size,
            same_size=checked.same_size,
            shards=entries,
            views=[] if name else sorted(division.views),
            skipped=checked.skipped,
        )


def summary(manifest: dict[str, Any]) -> str:
    text = f"{manifest['records']:,} images of {manifest['classes']:,} identities"
    if manifest["views"]:
        text += f", views {', '.join(manifest['views'])}"
    if manifest["skipped"]:
        text += f"\n{len(manifest['skipped'])} images left out:\n  " + "\n  ".join(manifest["skipped"][:20])
    return text


def define_flags() -> None:
    flags.DEFINE_string("source", None, "where the images come from, as in folder(photos)")
    flags.DEFINE_string("split", "none", "how they are divided: none, class(...) or data(...)")
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_integer("seed", 0, "which record goes into which shard depends on this alone")
    flags.DEFINE_enum("on_bad", "fail", ["fail", "skip"], "what to do with an image that cannot be used")


def main() -> None:
    FLAGS = flags.FLAGS
    print(prepare(command.required("source"), FLAGS.split, Path(command.required("out")), FLAGS.seed, FLAGS.on_bad))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
