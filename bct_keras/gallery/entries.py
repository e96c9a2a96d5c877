"""Turns a data set into entries of a gallery, batch by batch, and tells what was not added."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras import artefacts
from bct_keras.data import dataset, embeddings, images_by_id
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.records import KIND
from bct_keras.encoders import Encoder, FirstDims
from bct_keras.errors import option
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.refusals import not_calibrated
from bct_keras.gallery.spaces import Declared
from bct_keras.untrusted.arrays import open_array


@dataclass(frozen=True)
class Batch:
    """Entries that are added together."""

    ids: list[str]
    labels: list[str]
    embeddings: np.ndarray  # [entries, dims]


@dataclass(frozen=True)
class Entries:
    """Entries that are to be added, and the encoder that makes them."""

    encoder: KnownEncoder
    count: int
    batches: Iterator[Batch]


def known(encoder: Encoder) -> KnownEncoder:
    """Returns what a gallery knows of an encoder."""
    return KnownEncoder(encoder.fingerprint, encoder.dims, encoder.spec)


def fitted(encoder: Encoder, gallery: Gallery) -> Encoder:
    """Returns a wider encoder's first coordinates, where the gallery holds no more."""
    compatible = encoder.compatible
    dims = {known.dims for known in gallery.encoders_in_use()}
    if isinstance(compatible, FirstDims) and dims == {compatible.dims}:
        return compatible
    return encoder


def check_calibrated(gallery: Gallery, encoder: Encoder, maker: KnownEncoder) -> None:
    """Raises where entries of an encoder are of another space, and no score compares the two.

    Args:
        gallery: That which holds entries of others.
        encoder: What new entries are embedded by.
        maker: What the gallery knows it by.
    """
    if encoder.compatible is encoder:
        return
    declared = Declared(gallery.compatibilities())
    for each in (*gallery.encoders_to_fit(), maker):
        if not declared.odds(maker.fingerprint, each):
            raise not_calibrated(gallery.name, each)


def embedded_entries(data: DataSet, encoder: Encoder, maker: KnownEncoder) -> Entries:
    """Returns the entries of a data set, which are embedded as they are asked for.

    Args:
        data: The data set.
        encoder: What embeds them.
        maker: What the gallery knows it by.
    """

    def batches() -> Iterator[Batch]:
        for found, batch in encoder.embed_data(data):
            labels = labels_of(data, batch["label"].numpy())
            yield Batch(dataset.ids_of(batch), labels, found)

    return Entries(maker, data.records, batches())


def stored_entries(data: DataSet, folder: Path) -> Entries:
    """Returns the entries of a data set by embeddings that `embed` has kept in a folder."""
    shards = embeddings.open_embeddings(folder, data)
    manifest = artefacts.read_manifest(folder, embeddings.KIND)

    def batches() -> Iterator[Batch]:
        for shard in data.shards:
            found = open_array(embeddings.field_path(folder, shard, "old_embedding"))
            labels = open_array(embeddings.field_path(folder, shard, "label"))
            ids = [stored.id for stored in images_by_id.whole(shard.here)]
            yield Batch(ids, labels_of(data, labels), found)

    encoder = KnownEncoder(
        fingerprint=manifest["made_from"]["encoder"],
        dims=shards.dims,
        name=manifest["encoder"],
    )
    return Entries(encoder, data.records, batches())


def labels_of(data: DataSet, labels: np.ndarray) -> list[str]:
    """Returns what people call the identities, or else their labels as they count in the whole set.

    A gallery may hold several views of one data set.
    """
    names = data.identity_names
    if names is not None:
        return [names[label] for label in labels.tolist()]
    return [str(label + data.first_identity) for label in labels.tolist()]


def left_out(data: DataSet, gallery: Gallery) -> str:
    """Returns a line where the gallery cannot hold all images of the data set; else nothing.

    That is so where `data` is one view of a larger data set.
    """
    folder = data.folder.parent
    if artefacts.kind_of(folder) != KIND:
        return ""
    whole = open_data_set(folder)
    if not {shard.sha256 for shard in data.shards} <= {shard.sha256 for shard in whole.shards}:
        return ""
    missing = whole.records - sum(gallery.encoders_in_use().values())
    if missing <= 0:
        return ""
    return (
        f"{data.folder} is a part of {whole.folder}: at least {missing:,} of its "
        f"{whole.records:,} images are not in the gallery; {option('data', whole.folder)} adds "
        "them all"
    )
