"""Searches the rows of a gallery file: all of them, exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bct_keras.gallery import vectors
from bct_keras.gallery.contents import Contents
from bct_keras.gallery.entry_blocks import Rows
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
    lanes = lanes_of(contents, parts)
    ranking = Ranking(parts)
    queries = len(parts[0].queries)
    if not lanes:  # no entry has a label that is searched
        yield from ([] for _ in range(queries))
        return
    for start in range(0, queries, QUERIES_AT_ONCE):
        several = slice(start, start + QUERIES_AT_ONCE)
        coarse_of_lanes = list(coarse_scores(lanes, several))
        for number in range(min(QUERIES_AT_ONCE, queries - start)):
            found = []
            for lane, coarse in zip(lanes, coarse_of_lanes, strict=True):
                count = min(2 * top + SPARE_CANDIDATES, lane.count)
                candidates = lane.scan.rows_at(vectors.best(coarse[number], count))
                query = lane.part.queries[start + number]
                found.append(scored(contents, ranking, lane.part, query, candidates))
            yield ranked(contents, ranking, found, top)


@dataclass(frozen=True)
class Scan:
    """The blocks of rows that are gone through with the same queries."""

    blocks: list[Rows]
    is_whole: bool  # whether these are all blocks of the file

    def rows_at(self, places: np.ndarray) -> np.ndarray:
        """Returns the rows of the file at these places [n] among those of the blocks."""
        if self.is_whole:
            return places
        firsts = np.cumsum([0, *(len(block.vectors) for block in self.blocks)])
        which = np.searchsorted(firsts, places, side="right") - 1
        starts = np.array([block.first for block in self.blocks], np.int64)
        return starts[which] + places - firsts[which]

    def of_rows(self, values: np.ndarray) -> np.ndarray:
        """Returns those of the values [rows] that are of the blocks' rows."""
        if self.is_whole:
            return values
        pieces = []
        for block in self.blocks:
            pieces.append(values[block.first : block.first + len(block.vectors)])
        return np.concatenate(pieces)


@dataclass(frozen=True)
class Lane:
    """One part of a search, with the rows that it takes."""

    part: Part
    scan: Scan
    own: np.ndarray  # [rows of the scan] which of them are of this part
    count: int  # how many are
    is_alone: bool  # whether no other part goes through the same blocks with the same queries


def lanes_of(contents: Contents, parts: list[Part]) -> list[Lane]:
    """Returns what is gone through for each part; parts with the same queries do it together."""
    searched = searched_rows(contents, parts)
    lanes = []
    for part, own in searched:
        wanted = own
        alike = 0
        for other, rows in searched:
            if other.queries is part.queries:
                wanted = wanted | rows
                alike += 1
        blocks = []
        for block in contents.rows:
            if wanted[block.first : block.first + len(block.vectors)].any():
                blocks.append(block)
        scan = Scan(blocks, len(blocks) == len(contents.rows))
        lanes.append(
            Lane(part, scan, scan.of_rows(own), int(np.count_nonzero(own)), is_alone=alike == 1)
        )
    return lanes


def searched_rows(contents: Contents, parts: list[Part]) -> list[tuple[Part, np.ndarray]]:
    """Returns each part with its rows [rows] of wanted labels; parts with none are left out."""
    chosen = chosen_rows(contents, parts)
    labels = parts[0].labels  # the same in all parts
    if labels:
        of_labels = contents.have_label(labels)[contents.entry_of]  # [rows]
        chosen = [rows & of_labels for rows in chosen]
    found = []
    for part, rows in zip(parts, chosen, strict=True):
        if rows.any():
            found.append((part, rows))
    return found


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


def coarse_scores(lanes: list[Lane], several: slice) -> Iterator[np.ndarray]:
    """Yields for each lane the coarse scores [queries, its rows]; -inf for rows of other parts."""
    known: dict[int, np.ndarray] = {}  # of the queries that several parts have in common
    for lane in lanes:
        key = id(lane.part.queries)
        if key not in known:
            packed = vectors.pack(lane.part.queries[several])
            scores = [vectors.coarse_scores(packed, block.vectors) for block in lane.scan.blocks]
            known[key] = np.concatenate(scores, axis=1)
        coarse = known[key]
        if lane.count == coarse.shape[1]:
            yield coarse
        elif lane.is_alone:
            coarse[:, ~lane.own] = -np.inf
            yield coarse
        else:
            yield np.where(lane.own, coarse, -np.inf)


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
    order = np.lexsort((numbers, -cosines, -scores))
    best = order[:top]
    rates = ranking.rates(scores[best])
    found_best = []
    for place, rate in zip(best.tolist(), rates, strict=True):
        entry = Found(
            number=numbers[place].item(),
            row=rows[place].item(),
            score=cosines[place].item(),
            rate=rate,
        )
        found_best.append(entry)
    return found_best


def searched_encoder(contents: Contents, found: Found) -> KnownEncoder:
    """Returns the encoder that made the row that was searched."""
    return contents.encoders[contents.made_by[found.row]]
