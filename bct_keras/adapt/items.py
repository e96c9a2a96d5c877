"""The items that an adapter is fitted on and proven on: images of a data set, or stored ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, progress
from bct_keras.adapt import pairs
from bct_keras.adapt.pairs import Pairs
from bct_keras.adapt.plan import NO_ADAPTER, Plan
from bct_keras.data.dataset import DataSet, open_to_train_on
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate import held_out
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.retrieval import Divided, divide
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.verification import Sides

PROVEN_SHARE = 0.3  # of the identities of stored embeddings, which have no test set


@dataclass(frozen=True)
class ImagesOfData:
    """Images of a data set are fitted on, and the test set beside it proves."""

    data: DataSet
    new: Encoder
    old: Encoder
    plan: Plan

    @property
    def fingerprint(self) -> str:
        """Names the images."""
        return self.data.fingerprint

    def pairs(self) -> Pairs:
        """Returns the pairs to fit on."""
        self.data.check_content()
        # Without an adapter the old gallery is searched with what the new encoder has for it.
        new = self.new.compatible if self.plan.kind == NO_ADAPTER else self.new
        return pairs.of_data(self.data, new, self.old, self.plan.pairs)

    def protocols(self, asked: Sequence[str] | None, out: Path) -> Mapping[str, Protocol]:
        """Returns what proves the adapter: what is asked for, or else the test set."""
        specs = held_out.protocols(asked, self.data)
        if not specs and not asked:
            raise InputError(
                f"nothing proves the adapter: beside {self.data.folder} lies no `test`, as"
                " prepare's test_share makes it",
                f"give {option('protocol', 'retrieval(DATA)')} of identities that neither encoder"
                f" has seen, or {option('protocol', 'none')}",
            )
        found = build_protocols(specs, EmbeddingCache(out.parent / "embeddings"))
        held_out.check_apart(found, self.data, f"or give {option('protocol', 'none')}")
        return found

    def apart_from(self, protocols: Mapping[str, Protocol]) -> "ImagesOfData":
        """Returns the items without those that prove, which were found to be others."""
        return self


@dataclass(frozen=True)
class StoredItems:
    """Items of two files of stored embeddings; a share of their identities proves."""

    every: Pairs
    halves: pairs.Halves
    plan: Plan

    @property
    def fingerprint(self) -> str:
        """Names the items, and which of them prove."""
        return artefacts.fingerprint([self.halves.fitted.ids, self.halves.proven.ids])

    def pairs(self) -> Pairs:
        """Returns the pairs to fit on."""
        return pairs.drawn(self.halves.fitted, self.plan.pairs, self.plan.seed)

    def protocols(self, asked: Sequence[str] | None, out: Path) -> Mapping[str, Protocol]:
        """Returns what proves the adapter: the identities that are held out, if there are labels.

        Args:
            asked: Protocols of the user's own.
            out: The folder that is made.
        """
        if asked:
            specs = [spec for spec in asked if spec != "none"]
            return build_protocols(specs, EmbeddingCache(out.parent / "embeddings"))
        proven = self.halves.proven
        if proven.labels is None:
            return {}
        return {"the items held out": HeldOutItems(proven.ids, proven.labels)}

    def apart_from(self, protocols: Mapping[str, Protocol]) -> "StoredItems":
        """Returns the items without those that prove, nor others of the same identities.

        Protocols of the user's own may list any of the items, those to fit on too.
        """
        proving: set[str] = set()
        for protocol in protocols.values():
            proving |= set(getattr(protocol, "ids", ()))
        if not proving & set(self.halves.fitted.ids):
            return self
        is_proving = np.array([name in proving for name in self.every.ids])
        if self.every.labels is not None:
            is_proving = np.isin(self.every.labels, self.every.labels[is_proving])
        if is_proving.all():
            raise InputError(
                f"{', '.join(protocols)}: every identity is measured, and none is left to fit on",
                "list some of them alone",
            )
        halves = pairs.Halves(
            fitted=self.every.rows(np.flatnonzero(~is_proving)),
            proven=self.every.rows(np.flatnonzero(is_proving)),
        )
        return replace(self, halves=halves)


class HeldOutItems(Divided):
    """Measures stored embeddings of some items, of which each identity has some in the gallery."""

    def __init__(self, ids: list[str], labels: np.ndarray):
        super().__init__()
        self.ids = ids
        _, self.labels = np.unique(labels, return_inverse=True)
        self.division = divide(self.labels, np.argsort(ids, kind="stable"))
        if not len(self.division.query):
            raise InputError(
                f"each of the {len(ids)} identities held out has one item; a query needs a second"
            )

    def embed(self, encoder: Encoder) -> Sides:
        """Returns the queries and the gallery, as an encoder has stored them."""
        return self.sides_of(encoder, encoder.of_ids(self.ids))

    def searched_names(self) -> list[SearchedNames]:
        """Returns the ids of queries and gallery."""
        ids = np.array(self.ids)
        query = ids[self.division.query].tolist()
        gallery = ids[self.division.gallery].tolist()
        return [SearchedNames(query, gallery)]

    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers, besides the encoders."""
        return {"items": artefacts.fingerprint([self.ids, self.labels.tolist()])}


def items_of(
    new: Encoder, old: Encoder, plan: Plan, say: progress.Say = progress.silent
) -> ImagesOfData | StoredItems:
    """Returns the items that a plan means; says how many have no partner."""
    if plan.data:
        return ImagesOfData(open_to_train_on(plan.data), new, old, plan)
    every = pairs.of_stored(new, old, say)
    return StoredItems(every, pairs.halves(every, PROVEN_SHARE, plan.seed), plan)
