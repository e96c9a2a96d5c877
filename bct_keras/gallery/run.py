"""Adds to a gallery, searches in it, embeds it anew, removes from it and tells what it holds."""

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bct_keras import progress, specs, stores
from bct_keras.data import images_by_id
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.engines import Engine
from bct_keras.errors import InputError, option
from bct_keras.gallery.backfill import EmbeddedImages, Items
from bct_keras.gallery.backfill import backfill as embed_anew
from bct_keras.gallery.bundling import bundle as bundle
from bct_keras.gallery.declaring import (
    compatibilities,
    declare,
    is_own,
    open_gallery,
    read_reports,
    sentence_of,
)
from bct_keras.gallery.embedded_items import EmbeddedItems, embedded_by
from bct_keras.gallery.entries import (
    Entries,
    check_calibrated,
    embedded_entries,
    fitted,
    left_out,
    stored_entries,
)
from bct_keras.gallery.facts import Backfilled, Description, Removal
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.kinds import ORDERS
from bct_keras.gallery.moves import cut_over as cut_over
from bct_keras.gallery.moves import forget_originals as forget_originals
from bct_keras.gallery.moves import is_moved as is_moved
from bct_keras.gallery.moves import move as move
from bct_keras.gallery.moves import restore as restore
from bct_keras.gallery.photos import photo_encoder
from bct_keras.gallery.searching import search as search
from bct_keras.gallery.stored import StoredItems, entries_of_stored, known_by, load_stored
from bct_keras.printable import line


def add(
    gallery: str,
    data: str | Path | None = None,
    encoder: str | Path | None = None,
    embeddings: str | Path | None = None,
    reports: Sequence[str | Path] = (),
    max_loss: float | None = None,
    strict: bool = False,
    made_by: str | Path | None = None,
    say: progress.Say = progress.silent,
) -> int:
    """Adds entries and declares which queries fit; returns how many entries are new.

    Args:
        gallery: Such as `file(people.gallery)`, which is made where it is not there yet.
        data: The data set whose images are to be entries.
        encoder: What embeds them now, or a .npz of embeddings, all of which are added where there
            is no data set; or
        embeddings: the folder in which `embed` has kept their embeddings.
        reports: Reports of `evaluate`: queries of their new encoder fit entries of their old one.
        max_loss: In place of the reports' verdict: the share of old/old that may be lost.
        strict: Whether a report whose verdict is undecided is refused.
        made_by: The encoder that has made stored embeddings, as the gallery knows it.
        say: Takes lines on what is declared, and on what is safe now.
    """
    check_sources(data, encoder, embeddings, reports)
    admissions = read_reports(reports, max_loss, strict)
    with open_gallery(gallery) as opened:
        if not (data or encoder):
            declare(opened, admissions, say)
            return 0
        images_to_add = open_data_set(data) if data else None
        if images_to_add is None:
            assert encoder
            embedder = load_stored(encoder, instead_of="data")
            entries = entries_of_stored(embedder, known_by(embedder, made_by))
        elif embeddings:
            entries = stored_entries(images_to_add, stores.place(embeddings))
        else:
            assert encoder
            embedder = fitting_encoder(opened, encoder)
            entries = embedded_entries(images_to_add, embedder, known_by(embedder, made_by))
        opened.begin_writing(entries.encoder)
        opened.check_may_join(entries.encoder, compatibilities(admissions))
        declare(opened, admissions, say)
        if images_to_add:
            images_to_add.check_content()
        added = add_entries(opened, entries, say)
        part = left_out(images_to_add, opened) if images_to_add else ""
        if part:
            say(part)
    return added


def check_sources(
    data: str | Path | None,
    encoder: str | Path | None,
    embeddings: str | Path | None,
    reports: Sequence[str | Path],
) -> None:
    """Raises where it is not told what is to be added, or told twice."""
    if (encoder and embeddings) or (data and not encoder and not embeddings):
        raise InputError(
            f"{option('data')} goes with either {option('encoder')}, to embed it now, or "
            f"{option('embeddings')}, made by embed"
        )
    if embeddings and not data:
        raise InputError(f"{option('embeddings')} goes with {option('data')}")
    if not (data or encoder or reports):
        raise InputError(
            f"{option('data')} is needed, or {option('report')}, or both; "
            f"{option('help')} tells what they take"
        )


def fitting_encoder(gallery: Gallery, path: str | Path) -> Encoder:
    """Loads the encoder, of which the gallery may hold the first coordinates alone."""
    with contextlib.suppress(InputError):  # there may be no gallery yet
        gallery.refresh()
    return fitted(load_encoder(path), gallery)


def add_entries(gallery: Gallery, entries: Entries, say: progress.Say) -> int:
    """Adds the entries and says what is safe now; returns how many are new."""
    added = 0
    start = time.perf_counter()
    with progress.bar(f"adding to {gallery.name}", entries.count, "entries") as done:
        for batch in entries.batches:
            added += gallery.add(entries.encoder, batch.ids, batch.labels, batch.embeddings)
            done.update(len(batch.ids))
    rate = entries.count / (time.perf_counter() - start)
    skipped = entries.count - added
    said = (
        f"{gallery.name}: {added:,} entries of {entries.encoder} added, safe and searchable "
        f"({rate:,.0f} a second)"
    )
    if skipped:
        said += f"; {skipped:,} were there already and stay as they are"
    say(said)
    return added


def backfill(
    gallery: str,
    encoder: str | Path,
    data: str | Path | None = None,
    order: str = "stored",
    made_by: str | Path | None = None,
    say: progress.Say = progress.silent,
    embeddings: str | Path | None = None,
    engine: Engine | None = None,
) -> Backfilled:
    """Embeds the entries of other encoders anew; raises once it is done if some had no image.

    Args:
        gallery: Such as `file(people.gallery)`.
        encoder: What embeds them; it has to be known to fit every entry. Or a .npz of embeddings.
        data: The data set that holds the entries' images, by their ids; none with a .npz.
        order: Which come first: a name of `ORDERS` with its options.
        made_by: The encoder that has made stored embeddings, as the gallery knows it.
        say: Takes a line on what was done.
        embeddings: What `embed` has made of the data set, by whatever engine and parts.
        engine: What embeds the data set first, beside it; None embeds entry by entry, here.
    """
    if (embeddings or engine) and not data:
        given = option("embeddings") if embeddings else option("engine")
        raise InputError(f"{given} goes with {option('data')}, the data set that is embedded")
    chosen_order = specs.build(ORDERS, order)
    specs.require(Callable, chosen_order, order)
    with open_gallery(gallery) as opened:
        opened.refresh()
        if data:
            embedder = photo_encoder(opened, encoder)
            images = open_data_set(data)
            if engine:
                embeddings = embedded_by(engine, encoder, images, say)
            items = items_of(images, embedder, embeddings)
        else:
            embedder = fitted(load_stored(encoder, instead_of="data"), opened)
            items = StoredItems(embedder)
        maker = known_by(embedder, made_by)
        place = opened.to_backfill(maker)
        is_beside = place is not opened
        if not is_beside:  # else nobody searches among them before the cut-over
            check_calibrated(opened, embedder, maker)
        count, without = embed_anew(place, maker, items, chosen_order)
        remark = ", beside those that are searched until gallery cut-over" if is_beside else ""
        say(f"{opened.name}: {count:,} entries embedded anew by {maker}{remark}")
        if without:
            what = f"image in {data}" if data else f"embedding in {encoder}"
            raise InputError(
                f"{len(without):,} entries have no {what} and stay as they are, the "
                f"first of them '{without[0]}'; run backfill again with what holds theirs"
            )
    return Backfilled(count, is_beside)


def items_of(images: DataSet, embedder: Encoder, embeddings: str | Path | None) -> Items:
    """Returns what a data set's entries are embedded from: their images, or what `embed` kept."""
    if embeddings:
        return EmbeddedItems(stores.place(embeddings), images, embedder)
    images.check_content()
    resize = embedder.preprocessing.resize
    by_id = images_by_id.ImagesById(images, embedder.image_size, resize)
    return EmbeddedImages(by_id, embedder.embed)


def remove(
    gallery: str,
    ids: Collection[str] = (),
    labels: Collection[str] = (),
    ids_file: str | Path | None = None,
    say: progress.Say = progress.silent,
) -> Removal:
    """Removes entries; raises once they are removed if some ids or labels are not there.

    Args:
        gallery: Such as `file(people.gallery)`.
        ids: Of entries to remove.
        labels: Of entries to remove: all that show this person.
        ids_file: A text file of more ids, one a line.
        say: Takes a line on what was done.
    """
    wanted = list(ids)
    if ids_file:
        wanted += listed_ids(Path(ids_file))
    if not (wanted or labels):
        raise InputError(
            f"{option('id')}, {option('ids_file')} or {option('label')} is needed: what is to be "
            "removed"
        )
    with open_gallery(gallery) as opened:
        removal = opened.remove(wanted, labels)
    erased = f"; no search finds them, and {removal.erased}" if removal.entries else ""
    say(f"{opened.name}: {removal.entries:,} entries removed{erased}")
    unknown = [*removal.unknown_ids, *removal.unknown_labels]
    if unknown:
        raise InputError(
            f"{len(unknown):,} of the {len(wanted) + len(labels):,} ids and labels given are not "
            f"in it, the first of them {unknown[0]!r}"
        )
    return removal


def listed_ids(file: Path) -> list[str]:
    """Reads a text file of ids, one a line."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; it has to list ids, one a line")
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: the list of ids cannot be read: {error}") from None
    return [each for each in lines if each]


def info(gallery: str, say: progress.Say = progress.silent) -> Description:
    """Reads and checks the whole gallery; says and returns what it holds."""
    with open_gallery(gallery) as opened:
        found = opened.describe()
    total = sum(found.entries.values())
    remarks = ", ".join(found.remarks)
    dims = " and ".join(str(each) for each in found.dims)
    of_dims = f" of {dims} dimensions" if dims else ""
    say(f"{opened.name}: {total:,} entries{of_dims} ({remarks})")
    for encoder, count in found.entries.items():
        say(line(f"  {count:,} by {encoder}"))
    for compatibility in found.compatible:
        if not is_own(compatibility):
            say(line(f"  {sentence_of(compatibility)}"))
    return found
