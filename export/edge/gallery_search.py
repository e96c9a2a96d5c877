"""Searches a gallery file on a device, without bct_keras.

What a search finds stands in bct_keras/gallery/FORMAT.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numkong
import numpy as np
from gallery_facts import COMPATIBLE, EMBEDDING
from gallery_file import GalleryFile

# Entries that are scored again, beyond twice those asked for: coarse scores are off by less than
# 0.002.
SPARE_CANDIDATES = 128


class Match(NamedTuple):
    """An entry that a search finds."""

    cosine: float
    label: str
    id: str


class Gallery(GalleryFile):
    """A gallery that is searched by an encoder's embeddings."""

    def check_fits(self, fingerprint: str) -> None:
        """Raises unless queries of this encoder are known to fit every entry."""
        fit = {fingerprint}
        for each in self.compatible:
            if each.query == fingerprint:
                fit.add(each.gallery)
        if not self.makers <= fit:
            raise ValueError(
                "the model is not known to be compatible with every entry; see gallery add --report"
            )

    def query_of(self, fingerprint: str, embeddings: dict[str, np.ndarray]) -> np.ndarray:
        """Returns that embedding of a photo by which all entries can be searched."""
        own = embeddings[EMBEDDING]
        if COMPATIBLE not in embeddings:
            return own
        others = embeddings[COMPATIBLE]
        if fingerprint not in self.makers:
            return others
        # Where own entries have the old dimensions, they are `embedding_compatible` too.
        if len(own) != self.dims:
            return others
        if len(self.makers) == 1:
            return own
        raise ValueError(
            "the gallery holds entries of this model and of an older one, which it searches by two "
            "embeddings; search it on a server, or backfill the rest"
        )

    def rows_of(self, labels: Sequence[str]) -> np.ndarray:
        """Tells of each row [rows] whether it is searched: by the entry's label, if some are given.

        Raises where no entry has one of them, which may be misspelt.
        """
        if not labels:
            return self.is_live
        found = np.zeros(len(self.is_live), bool)
        for label in labels:
            entries = np.concatenate([names.have_label(label) for names in self.names])
            rows = self.is_live & entries[self.entry_of]
            if not rows.any():
                raise ValueError(f"{self.path} has no entry with the label {label!r}")
            found |= rows
        return found

    def search(
        self, fingerprint: str, query: np.ndarray, top: int, labels: Sequence[str] = ()
    ) -> list[Match]:
        """Returns the best entries, of these labels if some are given, the best first."""
        self.check_fits(fingerprint)
        if len(query) != self.dims:
            raise ValueError(
                f"the model gives {len(query)} dimensions, and the entries have {self.dims}"
            )
        searched = self.rows_of(labels)
        coarse = self.coarse_scores(query)
        coarse[~searched] = -np.inf
        count = min(2 * top + SPARE_CANDIDATES, int(searched.sum()))
        candidates = best_rows(coarse, count)
        cosines = self.cosines(query, candidates)
        numbers = self.entry_of[candidates]
        # Of equal cosines the entry with the lower number comes first.
        order = np.lexsort((numbers, -cosines))
        found = []
        for place in order[:top]:
            name = self.name(int(numbers[place]))
            cosine = float(cosines[place])
            found.append(Match(cosine, name.label, name.id))
        return found

    def coarse_scores(self, query: np.ndarray) -> np.ndarray:
        """Returns a score [rows] for each row by its high plane alone."""
        largest = np.abs(query).max()
        scaled = np.rint(query * (127 / largest))
        queries = scaled.astype(np.int8)[None]  # [1, dims]
        products = []
        for part in self.parts:
            if part.dims == self.dims:
                product = numkong.cdist(queries, part.high, metric="dot", out_dtype="float32")
                products.append(np.asarray(product)[0])
            else:  # what entries were before they were moved; none of them is searched
                products.append(np.zeros(len(part.scale), np.float32))
        return np.concatenate(products) * self.scale

    def cosines(self, query: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Returns the cosine of the query and each of these rows, which have to rise."""
        found = []
        first = 0
        for part in self.parts:
            end = first + len(part.scale)
            is_here = (candidates >= first) & (candidates < end)
            rows = candidates[is_here] - first
            if len(rows):
                whole = part.high[rows] * np.float32(256) + part.low[rows]
                # Not as a matrix product: equal embeddings have equal cosines.
                products = (whole * query).sum(axis=1)
                found.append(part.scale[rows] * products)
            first = end
        return np.concatenate(found)


def best_rows(scores: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows with the highest scores, in rising order of the rows."""
    first = len(scores) - count
    by_score = np.argpartition(scores, first)
    return np.sort(by_score[first:])
