"""Decides by what the entries of each encoder are searched, and how their scores are compared.

A query has two embeddings: that of its encoder's own gallery, and one that fits the gallery of an
older encoder. For many encoders they are the same. Where they are not, a cosine with an old entry
and one with a new entry say different things; both count by how much likelier they are for one
identity than for two, as the report has it that admitted the encoder (`metrics/odds.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery import vectors
from bct_keras.gallery.facts import BY_COMPATIBLE, BY_EMBEDDING, Compatibility, KnownEncoder, Match
from bct_keras.gallery.refusals import not_calibrated
from bct_keras.metrics.odds import GRID, Odds


@dataclass(frozen=True)
class Query:
    """What a gallery is searched by.

    Args:
        encoder: The fingerprint of the encoder that made the queries.
        embedding: [queries, dims], of any length: for entries of this encoder, and for those that
            were moved to it.
        compatible: [queries, dims of the old gallery]: for entries of older encoders; None where it
            is the same.
        labels: Entries with one of these labels are searched, and no others; all where there are
            none.
    """

    encoder: str
    embedding: np.ndarray
    compatible: np.ndarray | None = None
    labels: tuple[str, ...] = ()

    def dims(self) -> dict[str, int]:
        """Returns the dimensions of each embedding."""
        compatible = self.embedding if self.compatible is None else self.compatible
        return {BY_EMBEDDING: self.embedding.shape[1], BY_COMPATIBLE: compatible.shape[1]}

    def units(self) -> dict[str, np.ndarray]:
        """Returns both embeddings [queries, dims] at length 1."""
        embedding = vectors.unit(self.embedding)
        if self.compatible is None:
            return {BY_EMBEDDING: embedding, BY_COMPATIBLE: embedding}
        compatible = vectors.unit(self.compatible)
        if len(compatible) != len(embedding):
            raise InputError(
                f"{len(embedding)} queries have {len(compatible)} compatible embeddings; each has "
                "one"
            )
        return {BY_EMBEDDING: embedding, BY_COMPATIBLE: compatible}


@dataclass(frozen=True)
class Part:
    """Entries that are searched together, and what cosines with them stand for."""

    queries: np.ndarray  # [queries, dims] of length 1
    encoders: list[KnownEncoder]  # that have made these entries
    entries: int  # how many there are
    odds: Odds | None  # None where there is no other part
    labels: tuple[str, ...] = ()  # of the entries that are searched; all where there are none
    from_before: bool = False  # whether moved entries are searched by what they were before


class Declared:
    """What was declared of encoders, by the two fingerprints."""

    def __init__(self, compatibilities: Iterable[Compatibility]):
        self.of: dict[tuple[str, str], Compatibility] = {}
        for each in compatibilities:
            pair = each.query, each.gallery
            before = self.of.get(pair)
            # The latest counts, unless an earlier one knows what cosines stand for.
            if before is None or each.calibration or not before.calibration:
                self.of[pair] = each

    def queries(self) -> set[str]:
        """Returns the encoders whose queries fit other entries."""
        return {query for query, _ in self.of}

    def fits(self, query: str, entries: KnownEncoder) -> bool:
        """Tells whether queries of an encoder are known to fit entries of another."""
        return query == entries.fingerprint or (query, entries.fingerprint) in self.of

    def odds(self, query: str, entries: KnownEncoder) -> Odds | None:
        """Returns what cosines of queries with entries stand for, where it is known."""
        found = self.of.get((query, entries.fingerprint))
        return found.odds if found else None

    def can_search(self, query: str, entries: Iterable[KnownEncoder]) -> bool:
        """Tells whether queries of an encoder can be searched among all these entries at once.

        Entries of other dimensions are of another space, so that it has to be known what cosines
        stand for.
        """
        all_entries = list(entries)
        if not all(self.fits(query, each) for each in all_entries):
            return False
        if len({each.dims for each in all_entries}) < 2:
            return True
        return all(self.odds(query, each) for each in all_entries)

    def by(self, query: Query, entries: KnownEncoder) -> str | None:
        """Returns which embedding of a query searches these entries; None where none fits."""
        if query.encoder == entries.fingerprint:
            # A gallery of an old encoder's dimensions may hold no more of a wider one.
            dims = query.dims()
            return BY_EMBEDDING if dims[BY_EMBEDDING] == entries.dims else BY_COMPATIBLE
        found = self.of.get((query.encoder, entries.fingerprint))
        return found.by if found else None


@dataclass
class Plan:
    """The encoders whose entries a query searches, and by which of its embeddings."""

    by: dict[KnownEncoder, str] = field(default_factory=dict)
    entries: dict[KnownEncoder, int] = field(default_factory=dict)
    from_before: bool = False  # whether moved entries are searched by what they were before

    def add(self, encoder: KnownEncoder, by: str, entries: int) -> None:
        """Adds entries of an encoder."""
        self.by[encoder] = by
        self.entries[encoder] = self.entries.get(encoder, 0) + entries


def parts_of(query: Query, plan: Plan, declared: Declared, gallery: str) -> list[Part]:
    """Returns the parts that make one ranked list.

    Args:
        query: What is searched by.
        plan: The encoders whose entries are searched.
        declared: What is known of the encoders.
        gallery: What errors call the gallery.
    """
    units = query.units()
    for encoder, by in plan.by.items():
        dims = units[by].shape[1]
        if dims != encoder.dims:
            raise InputError(
                f"{gallery} holds {encoder.dims} dimensions and the query has {dims}; they cannot "
                "be compared"
            )
    parts = []
    unknown = []
    for encoder, by in plan.by.items():
        part = Part(
            queries=units[by],
            encoders=[encoder],
            entries=plan.entries[encoder],
            odds=declared.odds(query.encoder, encoder),
            labels=query.labels,
            from_before=plan.from_before,
        )
        parts.append(part)
        if part.odds is None:
            unknown.append(encoder)
    if not unknown:
        return parts
    ways = set(plan.by.values())
    if query.compatible is not None and len(ways) > 1:
        raise not_calibrated(gallery, unknown[0])
    one_way = next(iter(plan.by.values()))  # all ways lead to the same embedding
    together = Part(
        queries=units[one_way],
        encoders=list(plan.by),
        entries=sum(plan.entries.values()),
        odds=None,
        labels=query.labels,
        from_before=plan.from_before,
    )
    return [together]


def can_be_searched(declared: Declared, encoders: Sequence[KnownEncoder]) -> bool:
    """Tells whether any known query can be searched among entries of all these encoders."""
    # An encoder behind an adapter has moved entries; nobody asks by it.
    makers = {known.fingerprint for known in encoders if not known.adapter}
    queries = makers | declared.queries()
    return any(declared.can_search(query, encoders) for query in queries)


@dataclass(frozen=True)
class Ranking:
    """Makes one ranked list of what the parts of a search find."""

    parts: Sequence[Part]

    def scores(self, part: Part, cosines: np.ndarray) -> np.ndarray:
        """Returns what cosines with entries of a part count in the list, the higher the better."""
        if part.odds is None:
            return cosines
        return part.odds.log_odds(cosines)

    def rates(self, scores: np.ndarray) -> Sequence[float | None]:
        """Returns the share of pairs of two identities that would stand as high in this list.

        FAR = sum over parts of entries(part) / entries * FAR(part) at the cosine of that score
        """
        if any(part.odds is None for part in self.parts):
            return [None] * len(scores)
        entries = max(sum(part.entries for part in self.parts), 1)
        found = np.zeros(len(scores))
        for part in self.parts:
            assert part.odds
            cosines = np.interp(scores, part.odds.on_grid, GRID)
            found += part.entries / entries * part.odds.impostors.rate(cosines)
        return found.tolist()


@dataclass(frozen=True)
class Scored:
    """A match, and what it counts in a list of several parts."""

    match: Match
    score: float


def merged(parts: Sequence[Part], found: Sequence[Sequence[Match]]) -> list[Match]:
    """Returns one ranked list of what each part found for a query, the best first."""
    ranking = Ranking(parts)
    scored: list[Scored] = []
    for part, matches in zip(parts, found, strict=True):
        cosines = np.array([match.score for match in matches])
        scores = ranking.scores(part, cosines).tolist()
        for match, score in zip(matches, scores, strict=True):
            scored.append(Scored(match, score))
    scored.sort(key=lambda each: each.score, reverse=True)
    rates = ranking.rates(np.array([each.score for each in scored]))
    ranked = []
    for each, rate in zip(scored, rates, strict=True):
        ranked.append(replace(each.match, rate=rate))
    return ranked


def planned(
    query: Query,
    in_use: Mapping[KnownEncoder, int],
    declared: Declared,
    behind: Callable[[KnownEncoder], Mapping[KnownEncoder, int]],
) -> tuple[Plan, list[KnownEncoder]]:
    """Returns the plan of a search, and the encoders whose entries the query does not fit.

    Args:
        query: What is searched by.
        in_use: The encoders of all entries, with their numbers.
        declared: What is known of the encoders.
        behind: Returns the encoders of the vectors that moved entries had before, where all of them
            are kept.
    """
    plan = Plan()
    foreign = []
    for encoder, count in in_use.items():
        by = declared.by(query, encoder)
        if by:
            plan.add(encoder, by, count)
            continue
        fits_all = True
        originals = behind(encoder)
        for original, count_before in originals.items():
            way = declared.by(query, original)
            if way:
                plan.add(original, way, count_before)
                plan.from_before = True
            else:
                fits_all = False
        if not originals or not fits_all:
            foreign.append(encoder)
    return plan, foreign
