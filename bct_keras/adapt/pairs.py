"""Gathers what an adapter is fitted on: the embeddings of the same items by both encoders."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bct_keras import artefacts, progress
from bct_keras.data import dataset
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import Encoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """The embeddings of the same items by the new and by the old encoder."""

    ids: list[str]
    new: np.ndarray  # [items, new dims]
    old: np.ndarray  # [items, old dims]
    labels: np.ndarray | None  # [items] numbers or names

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, chosen: np.ndarray) -> "Pairs":
        """Returns the pairs of these rows."""
        return Pairs(
            ids=[self.ids[row] for row in chosen.tolist()],
            new=self.new[chosen],
            old=self.old[chosen],
            labels=None if self.labels is None else self.labels[chosen],
        )

    @property
    def fingerprint(self) -> str:
        """Names the items and their labels; the encoders name their embeddings."""
        labels = None if self.labels is None else self.labels.tolist()
        return artefacts.fingerprint([self.ids, labels])


@dataclass(frozen=True)
class Halves:
    """Pairs to fit on, and pairs of other identities to prove on."""

    fitted: Pairs
    proven: Pairs


def of_data(data: DataSet, new: Encoder, old: Encoder, count: int) -> Pairs:
    """Returns the pairs of the first images of a data set, whose order is random.

    Args:
        data: Images with labels.
        new: The new encoder.
        old: The old one.
        count: How many pairs at most.
    """
    count = min(count, data.records)
    ids: list[str] = []
    labels, of_new = [], []
    with progress.bar(f"embedding {data.folder} by the new encoder", count) as done:
        for embeddings, batch in first_batches(new, data, count):
            ids += dataset.ids_of(batch)
            labels.append(batch["label"].numpy())
            of_new.append(embeddings)
            done.update(len(embeddings))
    of_old = []
    with progress.bar(f"embedding {data.folder} by the old encoder", count) as done:
        for embeddings, _ in first_batches(old, data, count):
            of_old.append(embeddings)
            done.update(len(embeddings))
    return Pairs(
        ids=ids[:count],
        new=np.concatenate(of_new)[:count],
        old=np.concatenate(of_old)[:count],
        labels=np.concatenate(labels)[:count],
    )


def first_batches(encoder: Encoder, data: DataSet, count: int) -> Iterator[tuple[np.ndarray, dict]]:
    """Yields (embeddings, batch) until there are `count` images or more."""
    seen = 0
    for embeddings, batch in encoder.embed_data(data):
        yield embeddings, batch
        seen += len(embeddings)
        if seen >= count:
            return


def of_stored(new: Encoder, old: Encoder, say: progress.Say) -> Pairs:
    """Returns the pairs of two files of stored embeddings, by their ids.

    Args:
        new: A file of embeddings.
        old: Another one.
        say: Takes a line on ids that the other file has not.
    """
    if not isinstance(new, StoredEmbeddings) or not isinstance(old, StoredEmbeddings):
        raise InputError(
            "without a data set both encoders have to be .npz files of stored embeddings with ids"
        )
    common = [name for name in new.ids if name in old.row_of]
    if not common:
        raise InputError(
            f"{new.path} and {old.path} have no id in common: the same item has to have the same id"
            " in both",
            f"the first of the one is {new.ids[0]!r}, and of the other {old.ids[0]!r}",
        )
    for stored in (new, old):
        if len(stored.ids) > len(common):
            alone = len(stored.ids) - len(common)
            say(f"{stored.path}: {alone:,} of {len(stored.ids):,} ids are not in the other file")
    labels = None
    for stored in (new, old):
        if labels is None and stored.labels is not None:
            rows = [stored.row_of[name] for name in common]
            labels = stored.labels[rows]
    return Pairs(
        ids=common,
        new=new.of_ids(common),
        old=old.of_ids(common),
        labels=labels,
    )


def drawn(pairs: Pairs, count: int, seed: int) -> Pairs:
    """Returns at most `count` of the pairs, drawn at random."""
    if len(pairs) <= count:
        return pairs
    order = np.random.default_rng(seed).permutation(len(pairs))
    chosen = np.sort(order[:count])
    return pairs.rows(chosen)


def halves(pairs: Pairs, share: float, seed: int) -> Halves:
    """Holds a share of the identities out, to prove on; of the items where there are no labels."""
    classes = np.arange(len(pairs))
    if pairs.labels is not None:
        _, classes = np.unique(pairs.labels, return_inverse=True)
    count = int(classes.max()) + 1
    held = round(share * count)
    if not 0 < held < count:
        raise InputError(
            f"{count} identity(ies) are too few: some are fitted on, and others are proven on"
        )
    order = np.random.default_rng(seed).permutation(count)
    is_held = np.isin(classes, order[:held])
    return Halves(
        fitted=pairs.rows(np.flatnonzero(~is_held)),
        proven=pairs.rows(np.flatnonzero(is_held)),
    )
