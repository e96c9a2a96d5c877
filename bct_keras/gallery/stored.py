"""Entries and queries whose embeddings are stored with their ids: nothing here is about images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bct_keras.encoders import DerivedEncoder, Encoder, load_encoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError, option
from bct_keras.gallery.entries import Batch, Entries, known
from bct_keras.gallery.facts import KnownEncoder

AT_ONCE = 10_000


def stored_of(encoder: Encoder) -> StoredEmbeddings | None:
    """Returns the stored embeddings that an encoder gives, or is made of; None where it embeds."""
    while isinstance(encoder, DerivedEncoder):
        encoder = encoder.sources[0]
    return encoder if isinstance(encoder, StoredEmbeddings) else None


def load_stored(path: str | Path, instead_of: str) -> Encoder:
    """Loads stored embeddings; raises where an encoder embeds images, which needs an option."""
    encoder = load_encoder(path)
    if stored_of(encoder) is None:
        raise InputError(
            f"{encoder.spec} embeds images: {option(instead_of)} is needed; without it "
            f"{option('encoder')} has to be a .npz of embeddings and ids"
        )
    return encoder


def known_by(encoder: Encoder, made_by: str | Path | None) -> KnownEncoder:
    """Returns what a gallery knows of an encoder, or of the one that has made what is stored.

    Args:
        encoder: What gives the embeddings.
        made_by: What loads the encoder that has made them, where they are stored; None: they are
            known by their own file.
    """
    if not made_by:
        return known(encoder)
    maker = load_encoder(made_by)
    if stored_of(encoder) is None:
        raise InputError(
            f"{option('made_by', made_by)} goes with stored embeddings; {encoder.spec} is known by "
            "itself"
        )
    if maker.dims != encoder.dims:
        raise InputError(
            f"{encoder.spec} has {encoder.dims} dimensions and {maker.spec} gives {maker.dims}: it "
            "has not made them"
        )
    return known(maker)


def entries_of_stored(encoder: Encoder, encoder_known: KnownEncoder) -> Entries:
    """Returns all that is stored as entries; without labels each item is its own.

    Args:
        encoder: Stored embeddings, or what is made of them.
        encoder_known: What the entries know it by.
    """
    stored = stored_of(encoder)
    assert stored is not None
    labels = stored.ids
    if stored.labels is not None:
        labels = [str(label) for label in stored.labels.tolist()]

    def batches() -> Iterator[Batch]:
        for start in range(0, len(stored.ids), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            ids = stored.ids[some]
            yield Batch(ids, labels[some], encoder.of_ids(ids))

    return Entries(encoder_known, len(stored.ids), batches())


class StoredItems:
    """Stored embeddings that are found by their ids, as a backfill finds images."""

    def __init__(self, encoder: Encoder):
        stored = stored_of(encoder)
        assert stored is not None
        self.encoder = encoder
        self.stored = stored

    def __contains__(self, ident: object) -> bool:
        return ident in self.stored.row_of

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        """Returns the embeddings of ids [ids, dims]."""
        return self.encoder.of_ids(ids)
