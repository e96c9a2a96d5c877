"""A gallery of old and new embeddings, searched by any encoder known to be compatible with them.

python -m bct_keras.gallery add --gallery='file(people.gallery)' --data=data/mine \\
    --embeddings=data/mine-by-old
python -m bct_keras.gallery add --gallery='file(people.gallery)' --report=reports/new-old
python -m bct_keras.gallery search --gallery='file(people.gallery)' \\
    --encoder=exported/encoder.tflite --image=me.jpg
python -m bct_keras.gallery backfill --gallery='file(people.gallery)' --encoder=runs/new \\
    --data=data/mine
python -m bct_keras.gallery remove --gallery='file(people.gallery)' --id=person52/003.jpg --label=17
python -m bct_keras.gallery info --gallery='file(people.gallery)'

Galleries: file(PATH), one file that a device reads as it is, or milvus(URI, collection=gallery).
Every entry knows the encoder that made it. A query is refused unless its encoder made all entries
or reports of `evaluate` say that it is compatible with those that did. Each action has its own
--help.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from bct_keras import command, progress, specs
from bct_keras.data import image_check, images, images_by_id, unreadable
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import BadImageError, InputError
from bct_keras.gallery import GALLERIES, ORDERS, admission
from bct_keras.gallery.backfill import backfill
from bct_keras.gallery.entries import (
    Entries,
    embedded_entries,
    fitted,
    known,
    left_out,
    stored_entries,
)
from bct_keras.gallery.gallery import Gallery, Match
from bct_keras.printable import line
from bct_keras.untrusted.reading import LARGEST_IMAGE, read_bytes

FLAGS = flags.FLAGS


def photo_encoder(gallery: Gallery) -> Encoder:
    encoder = load_encoder(command.required("encoder"))
    if not encoder.image_size:
        raise InputError(
            f"{encoder.path} holds stored embeddings; --encoder has to be one that embeds images"
        )
    return fitted(encoder, gallery)


def open_gallery() -> Gallery:
    return specs.build(GALLERIES, command.required("gallery"))


def add() -> None:
    if bool(FLAGS.encoder) + bool(FLAGS.embeddings) != bool(FLAGS.data):
        raise InputError(
            "--data goes with either --encoder, to embed it now, or --embeddings, made by embed"
        )
    if not (FLAGS.data or FLAGS.report):
        raise InputError("--data is needed, or --report, or both; --help tells what they take")
    declared = [
        admission.read_report(report, FLAGS.max_loss, FLAGS.strict) for report in FLAGS.report
    ]
    with open_gallery() as gallery:
        data = open_data_set(FLAGS.data) if FLAGS.data else None
        entries = entries_of(data, gallery) if data else None
        if entries:
            gallery.begin_writing(entries.encoder)
            gallery.check_may_join(entries.encoder, declared)
        for compatibility in declared:
            gallery.declare(compatibility)
            fit = (
                f"queries of {compatibility.query[:12]} fit entries of {compatibility.gallery[:12]}"
            )
            print(line(f"{fit}: {compatibility.finding}"))
        if data and entries:
            data.check_content()
            print(add_entries(gallery, data, entries))
            if part := left_out(data, gallery):
                print(part)


def entries_of(data: DataSet, gallery: Gallery) -> Entries:
    if FLAGS.embeddings:
        return stored_entries(data, Path(FLAGS.embeddings))
    with contextlib.suppress(InputError):  # there may be no gallery yet
        gallery.refresh()
    return embedded_entries(data, fitted(load_encoder(FLAGS.encoder), gallery))


def add_entries(gallery: Gallery, data: DataSet, entries: Entries) -> str:
    """One line that says what is safe now."""
    added, start = 0, time.perf_counter()
    with progress.bar(f"adding to {gallery.name}", data.records, "entries") as done:
        for batch in entries.batches:
            added += gallery.add(entries.encoder, batch.ids, batch.labels, batch.embeddings)
            done.update(len(batch.ids))
    rate = data.records / (time.perf_counter() - start)
    skipped = data.records - added
    stayed = f"; {skipped:,} were there already and stay as they are" if skipped else ""
    return (
        f"{gallery.name}: {added:,} entries of {entries.encoder} added, safe and searchable "
        f"({rate:,.0f} a second)"
        f"{stayed}"
    )


def search() -> None:
    command.required("image")
    photos = {path: read_bytes(path, LARGEST_IMAGE) for path in FLAGS.image}
    for path, photo in photos.items():
        image_check.inspect(photo, path)
    with open_gallery() as gallery:
        gallery.refresh()
        encoder = photo_encoder(gallery)
        for path, photo in photos.items():
            pixels = pixels_of(path, photo, encoder.image_size, encoder.preprocessing.resize)
            query = encoder.embed(pixels[None])
            print(as_text(path, gallery.search(encoder.fingerprint, query, FLAGS.top)[0]))


def pixels_of(path: str, photo: bytes, size: int, resize: str = "bilinear") -> np.ndarray:
    """[size, size, 3] of a photo that Pillow has decoded; TensorFlow refuses some of these all
    the same.
    """
    try:
        return images.decode(tf.constant(photo), size, True, resize).numpy()
    except unreadable.FAILURES as error:
        raise BadImageError(
            f"{path}: the image cannot be decoded ({unreadable.reason(error)})"
        ) from None


def as_text(path: str, matches: list[Match]) -> str:
    rows = [("score", "label", "encoder", "id")]
    for match in matches:
        rows.append(
            (f"{match.score:.4f}", line(match.label), line(match.encoder[:12]), line(match.id))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]
    return "\n  ".join([line(path), *lines])


def fill() -> None:
    order = specs.build(ORDERS, FLAGS.order)
    specs.require(Callable, order, FLAGS.order)
    with open_gallery() as gallery:
        gallery.refresh()
        data = open_data_set(command.required("data"))
        encoder = photo_encoder(gallery)
        data.check_content()
        found = images_by_id.ImagesById(data, encoder.image_size, encoder.preprocessing.resize)
        count, without = backfill(gallery, known(encoder), encoder.embed, found, order)
        print(f"{gallery.name}: {count:,} entries embedded anew by {known(encoder)}")
        if without:
            raise InputError(
                f"{len(without):,} entries have no image in {FLAGS.data} and stay as they are, the "
                "first of them "
                f"'{without[0]}'; run backfill again with the data set that holds theirs"
            )


def remove() -> None:
    ids = [*FLAGS.id, *(listed_ids(Path(FLAGS.ids_file)) if FLAGS.ids_file else [])]
    if not (ids or FLAGS.label):
        raise InputError("--id, --ids_file or --label is needed: what is to be removed")
    with open_gallery() as gallery:
        removal = gallery.remove(ids, FLAGS.label)
    erased = f"; no search finds them, and {removal.erased}" if removal.entries else ""
    print(f"{gallery.name}: {removal.entries:,} entries removed{erased}")
    unknown = [*removal.unknown_ids, *removal.unknown_labels]
    if unknown:
        raise InputError(
            f"{len(unknown):,} of the {len(ids) + len(FLAGS.label):,} ids and labels given are not "
            "in it, the first "
            f"of them {unknown[0]!r}"
        )


def listed_ids(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError(f"{file}: no such file; it has to list ids, one a line")
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: the list of ids cannot be read: {error}") from None
    return [line for line in lines if line]


def info() -> None:
    with open_gallery() as gallery:
        found = gallery.describe()
    total = sum(found.entries.values())
    print(
        f"{gallery.name}: {total:,} entries of {found.dims} dimensions ({', '.join(found.remarks)})"
    )
    for encoder, count in found.entries.items():
        print(line(f"  {count:,} by {encoder}"))
    for each in found.compatible:
        print(
            line(
                f"  queries of {each.query[:12]} fit entries of {each.gallery[:12]}: {each.finding}"
            )
        )


def define_add_flags() -> None:
    flags.DEFINE_string("data", None, "the data set whose images are to be entries")
    flags.DEFINE_string(
        "encoder",
        None,
        "embeds them: a run's folder, a .keras, .tflite or .onnx file, a SavedModel, or a .npz of "
        "embeddings and ids",
    )
    flags.DEFINE_string("embeddings", None, "or their embeddings as `embed` made them")
    flags.DEFINE_multi_string(
        "report",
        [],
        "a report of evaluate: queries of its new encoder fit entries of its old one; may be given "
        "twice",
    )
    flags.DEFINE_bool("strict", False, "refuse a report whose verdict is undecided, too")
    flags.DEFINE_float(
        "max_loss",
        None,
        "take a report whose cross-test is not above old/old but below it by at most this share, "
        "as of a file exported "
        "from the very encoder that made the entries",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def define_search_flags() -> None:
    flags.DEFINE_string(
        "encoder",
        None,
        "of the query: a run's folder, a .keras, .tflite or .onnx file, or a SavedModel",
    )
    flags.DEFINE_multi_string("image", None, "a photo to search by; may be given twice")
    flags.DEFINE_integer("top", 5, "how many matches to list", lower_bound=1)


def define_backfill_flags() -> None:
    flags.DEFINE_string("encoder", None, "the encoder to embed with")
    flags.DEFINE_string("data", None, "the data set that holds the entries' images, by their ids")
    flags.DEFINE_string(
        "order", "stored", "which first: stored, by_label, random(seed=0) or listed(FILE) of ids"
    )


def define_remove_flags() -> None:
    flags.DEFINE_multi_string("id", [], "of an entry to remove; may be given twice")
    flags.DEFINE_string("ids_file", None, "a text file of ids to remove, one a line")
    flags.DEFINE_multi_string(
        "label", [], "of entries to remove: a person's, as a search prints it; may be given twice"
    )


ACTIONS: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
    "add": (add, define_add_flags),
    "search": (search, define_search_flags),
    "backfill": (fill, define_backfill_flags),
    "remove": (remove, define_remove_flags),
    "info": (info, lambda: None),
}


def run(arguments: list[str]) -> None:
    """`arguments` as sys.argv, the action after the program's name."""
    if len(arguments) < 2 or arguments[1] not in ACTIONS:
        if {"--help", "-h", "-help"} & set(arguments):
            print((__doc__ or "").strip())
            return
        command.fail(
            f"an action is needed first, one of {', '.join(ACTIONS)}; --help tells what they do"
        )
    main, define_flags = ACTIONS[arguments.pop(1)]
    flags.DEFINE_string("gallery", None, "file(PATH), or milvus(URI, collection=gallery)")
    define_flags()
    command.run(main, __doc__ or "")


if __name__ == "__main__":
    run(sys.argv)
