"""Searches a gallery by photos, or by stored embeddings."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bct_keras.data import image_check
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.images_by_id import ImagesById
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.gallery.declaring import open_gallery
from bct_keras.gallery.entries import fitted
from bct_keras.gallery.facts import Match, check_name
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.photos import Found, photo_encoder, pixels_of
from bct_keras.gallery.spaces import Query
from bct_keras.gallery.stored import known_by
from bct_keras.untrusted.reading import LARGEST_IMAGE, read_bytes


def search(
    gallery: str,
    encoder: str | Path,
    photos: Sequence[str] = (),
    top: int = 5,
    ids: Sequence[str] = (),
    made_by: str | Path | None = None,
    far: float | None = None,
    only_labels: Collection[str] = (),
    data: str | Path | None = None,
) -> Iterator[Found]:
    """Yields for each query the entries that are most like it, once all queries are found good.

    Args:
        gallery: Such as `file(people.gallery)`.
        encoder: What embeds the photos, or has the embeddings of the ids; it has to be known to fit
            every entry.
        photos: Paths of image files.
        top: How many entries to find for each.
        ids: Of stored embeddings, or of images of a data set, in place of photos.
        made_by: The encoder that has made what is stored, as the gallery knows it.
        far: The share of false accepts up to which an entry is a match, by the reports that let the
            queries in.
        only_labels: Entries with one of these labels are searched, and no others; all where there
            are none.
        data: The data set that has the images.
    """
    if bool(photos) == bool(ids) or (data and photos):
        raise InputError(
            f"{option('image')} is needed, or {option('id')} of stored embeddings or of "
            f"{option('data')}, and not both"
        )
    for label in only_labels:
        check_name(label)
    wanted = Wanted(top, tuple(only_labels))
    if data:
        found = search_by_images(gallery, encoder, open_data_set(data), ids, wanted)
    elif ids:
        found = search_by_ids(gallery, encoder, ids, wanted, made_by)
    else:
        found = search_by_photos(gallery, encoder, photos, wanted)
    for each in found:
        yield replace(each, far=far)


@dataclass
class Wanted:
    """What is to be found for each query."""

    top: int  # how many entries
    labels: tuple[str, ...]  # of which entries; of all where there are none
    known: set[str] = field(default_factory=set)  # labels that an entry was found to have

    def find(self, gallery: Gallery, query: Query) -> list[list[Match]]:
        """Returns a list of matches for each query; raises where no entry has one of the labels.

        Such a label may be misspelt.
        """
        found = gallery.find(replace(query, labels=self.labels), self.top)
        if self.labels:
            for matches in found:
                self.known.update(match.label for match in matches)
        for label in self.labels:
            if label in self.known:
                continue
            of_label = gallery.find(replace(query, labels=(label,)), 1)
            if not of_label[0]:
                raise InputError(f"{gallery.name} has no entry with the label {label!r}")
            self.known.add(label)
        return found


def search_by_photos(
    gallery: str, encoder: str | Path, photos: Sequence[str], wanted: Wanted
) -> Iterator[Found]:
    """Yields what is found for each photo."""
    encoded = {path: read_bytes(path, LARGEST_IMAGE) for path in photos}
    for path, photo in encoded.items():
        image_check.inspect(photo, path)
    with open_gallery(gallery) as opened:
        opened.refresh()
        embedder = photo_encoder(opened, encoder)
        resize = embedder.preprocessing.resize
        for path, photo in encoded.items():
            pixels = pixels_of(path, photo, embedder.image_size, resize)
            query = query_of_images(embedder, pixels[None])
            [matches] = wanted.find(opened, query)
            yield Found(path, matches)


def search_by_images(
    gallery: str, encoder: str | Path, data: DataSet, ids: Sequence[str], wanted: Wanted
) -> Iterator[Found]:
    """Yields what is found for each image of a data set."""
    with open_gallery(gallery) as opened:
        opened.refresh()
        embedder = photo_encoder(opened, encoder)
        images = ImagesById(data, embedder.image_size, embedder.preprocessing.resize)
        for ident in ids:
            if ident not in images:
                raise InputError(f"{data.folder} has no image with the id {ident!r}")
        query = query_of_images(embedder, images.read(list(ids)))
        for ident, matches in zip(ids, wanted.find(opened, query), strict=True):
            yield Found(ident, matches)


def search_by_ids(
    gallery: str,
    encoder: str | Path,
    ids: Sequence[str],
    wanted: Wanted,
    made_by: str | Path | None,
) -> Iterator[Found]:
    """Yields what is found for each item whose embedding is stored."""
    embedder = load_encoder(encoder)
    with open_gallery(gallery) as opened:
        opened.refresh()
        embedder = fitted(embedder, opened)
        query = Query(
            encoder=known_by(embedder, made_by).fingerprint,
            embedding=embedder.of_ids(ids),
            compatible=None if one_space(embedder) else embedder.compatible.of_ids(ids),
        )
        for ident, matches in zip(ids, wanted.find(opened, query), strict=True):
            yield Found(ident, matches)


def query_of_images(encoder: Encoder, images: np.ndarray) -> Query:
    """Returns both embeddings of images [images, size, size, 3] uint8."""
    return Query(
        encoder=encoder.fingerprint,
        embedding=encoder.embed(images),
        compatible=None if one_space(encoder) else encoder.compatible.embed(images),
    )


def one_space(encoder: Encoder) -> bool:
    """Tells whether an encoder searches the old gallery by the same embedding as its own."""
    return encoder.compatible is encoder
