"""Searches the rows of a gallery file: all of them, exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bct_keras.gallery import vectors
from bct_keras.gallery.contents import Contents
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.spaces import Part, Ranking

QUERIES_AT_ONCE = 16
# A coarse score is off by less than 0.002, so of random entries far fewer than these lie between it
# and the true one.
SPARE_CANDIDATES = 128


class Found(NamedTuple):
    """An entry that a search finds."""

    number: int
    row: int  # the one that was searched: the live one, or the original of an entry that was moved
    score: float  # cosine
    rate: float | None  # the share of pairs of two identities that would stand as high


@dataclass(frozen=True)
class Candidates:
    """Rows of one part that may be among the best of a query."""

    rows: np.ndarray  # [candidates]
    cosines: np.ndarray  # [candidates]
    scores: np.ndarray  # [candidates] what they count in the list


def nearest(contents: Contents, parts: list[Part], top: int) -> Iterator[list[Found]]:
    """Yields for each query its `top` entries, the best first."""
    chosen = chosen_rows(contents, parts)
    ranking = Ranking(parts)
    queries = len(parts[0].queries)
    for start in range(0, queries, QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        coarse_of_parts = list(coarse_scores(contents, parts, chosen, rows))
        for number in range(min(QUERIES_AT_ONCE, queries - start)):
            found = []
            for part, coarse, own in zip(parts, coarse_of_parts, chosen, strict=True):
                count = min(2 * top + SPARE_CANDIDATES, int(np.count_nonzero(own)))
                query = part.queries[start + number]
                candidates = vectors.best(coarse[number], count)
                found.append(scored(contents, ranking, part, query, candidates))
            yield ranked(contents, ranking, found, top)


def chosen_rows(contents: Contents, parts: list[Part]) -> list[np.ndarray]:
    """Returns which rows [rows] each part searches: one for each entry.

    That is its live row, or its original where no part searches what it was moved to.
    """
    if len(parts) == 1 and set(parts[0].encoders) == set(contents.in_use):
        return [contents.live]
    part_of_encoder = np.full(len(contents.encoders), -1)
    for place, part in enumerate(parts):
        for encoder in part.encoders:
            part_of_encoder[contents.encoders.index(encoder)] = place
    part_of_row = part_of_encoder[contents.made_by]  # [rows]
    searched = contents.live
    moved_away = contents.live & (part_of_row < 0)
    if moved_away.any():
        originals = contents.original_of[contents.entry_of[moved_away]]
        searched = contents.live & ~moved_away
        searched[originals] = True
    return [searched & (part_of_row == place) for place in range(len(parts))]


def coarse_scores(
    contents: Contents, parts: list[Part], chosen: list[np.ndarray], rows: slice
) -> Iterator[np.ndarray]:
    """Yields for each part the coarse scores [queries, rows]; -inf for rows of other parts."""
    known: dict[int, np.ndarray] = {}  # of the queries that several parts have in common
    wanted: dict[int, np.ndarray] = {}  # [rows]
    for part, own in zip(parts, chosen, strict=True):
        key = id(part.queries)
        wanted[key] = wanted[key] | own if key in wanted else own
    for part, own in zip(parts, chosen, strict=True):
        key = id(part.queries)
        if key not in known:
            known[key] = coarse_of_rows(contents, part.queries[rows], wanted[key])
        coarse = known[key]
        if own.all():
            yield coarse
        elif len(parts) == 1:
            coarse[:, ~own] = -np.inf
            yield coarse
        else:
            yield np.where(own, coarse, -np.inf)


def coarse_of_rows(contents: Contents, queries: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the coarse scores [queries, rows] with the blocks that hold wanted rows [rows]."""
    packed = vectors.pack(queries)
    scores = []
    for block in contents.rows:
        end = block.first + len(block.vectors)
        if wanted[block.first : end].any():
            scores.append(vectors.coarse_scores(packed, block.vectors))
        else:
            scores.append(np.full((len(queries), len(block.vectors)), -np.inf, np.float32))
    return np.concatenate(scores, axis=1)


def scored(
    contents: Contents, ranking: Ranking, part: Part, query: np.ndarray, rows: np.ndarray
) -> Candidates:
    """Returns the true scores of the rows that are best by coarse scores."""
    if not len(rows):
        return Candidates(rows, np.zeros(0), np.zeros(0))
    embeddings = vectors.unpack(contents.vectors_of(rows))  # [candidates, dims]
    # Not as a matrix product, whose rounding depends on a row's place: equal embeddings have
    # equal scores.
    cosines = (embeddings * query).sum(axis=1)
    return Candidates(rows, cosines, ranking.scores(part, cosines))


def ranked(contents: Contents, ranking: Ranking, found: list[Candidates], top: int) -> list[Found]:
    """Returns the best entries of all parts in one list."""
    rows = np.concatenate([each.rows for each in found])
    cosines = np.concatenate([each.cosines for each in found])
    scores = np.concatenate([each.scores for each in found])
    numbers = contents.entry_of[rows]
    # Of equal scores the older entry comes first.
    order = np.lexsort((numbers, -cosines, -scores))[:top]
    rates = ranking.rates(scores[order])
    best = []
    for place, rate in zip(order, rates, strict=True):
        best.append(Found(int(numbers[place]), int(rows[place]), float(cosines[place]), rate))
    return best


def searched_encoder(contents: Contents, found: Found) -> KnownEncoder:
    """Returns the encoder that made the row that was searched."""
    return contents.encoders[contents.made_by[found.row]]
