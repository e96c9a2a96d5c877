"""Computes all 1:1 and 1:N numbers of IJB from the features of its templates."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from bct_keras.evaluate.ijb import templates
from bct_keras.metrics import identification, influence
from bct_keras.metrics.identification import Identification, identify
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured, is_resolvable, rate_name
from bct_keras.metrics.roc import Roc, roc_curve
from bct_keras.metrics.verification import Embedded, Verification, histogram, kept_impostors

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS = (1e-3, 1e-2, 1e-1)
RANKS = (1, 5, 10)
KEPT_WHOLE = 200_000  # of the strongest impostor pairs; beyond them every tenth stands for ten
EVERY = 10


@dataclass(frozen=True)
class TemplatePairs:
    """Holds the pairs of templates that are compared 1:1."""

    first: np.ndarray  # [pairs] rows of templates; the gallery's side
    second: np.ndarray  # [pairs] the query's side
    genuine: np.ndarray  # [pairs] bool

    @cached_property
    def impostors(self) -> int:
        """Returns how many of them are of two subjects."""
        return int(np.count_nonzero(~self.genuine))

    @cached_property
    def repeated(self) -> bool:
        """Tells whether a pair is listed twice, also the other way round."""
        low = np.minimum(self.first, self.second)
        high = np.maximum(self.first, self.second)
        count = int(high.max()) + 1
        # A number for each pair, low * count + high; 32 bits for IJB-C's templates
        keys = low.astype(np.min_scalar_type(count * count))
        keys *= keys.dtype.type(count)
        np.add(keys, high, out=keys, casting="unsafe")
        keys.sort()
        equal = keys[1:] == keys[:-1]
        return bool(equal.any())

    def scores(self, query: Embedded, gallery: Embedded) -> np.ndarray:
        """Returns the score of each pair [pairs]."""
        first = self.first
        second = self.second
        if query is gallery and self.repeated:
            # The same product either way round, to the last bit.
            first = np.minimum(self.first, self.second)
            second = np.maximum(self.first, self.second)
        return templates.pair_scores(gallery.embeddings, query.embeddings, first, second)


@dataclass(frozen=True)
class Listed:
    """Holds templates that are searched, or that are in a gallery."""

    rows: np.ndarray  # [listed] rows of templates
    subjects: np.ndarray  # [listed]


@dataclass(frozen=True)
class Lists:
    """Holds what a set compares: pairs 1:1, and probes 1:N in each gallery."""

    pairs: TemplatePairs
    probes: Listed
    galleries: tuple[Listed, ...]


def measure(query: Embedded, gallery: Embedded, lists: Lists) -> Measured:
    """Returns all metrics.

    Args:
        query: All templates by the queries' encoder; the labels are the subjects' numbers from 0.
        gallery: All templates by the gallery's encoder.
        lists: What is compared, by rows of templates.
    """
    pairs = lists.pairs
    scores = pairs.scores(query, gallery)
    roc = roc_curve(scores[pairs.genuine], scores[~pairs.genuine], pairs.repeated)
    searches = [search(query, gallery, lists.probes, listed) for listed in lists.galleries]
    metrics = verification_metrics(roc, pairs.impostors)
    metrics |= identification_metrics(searches)

    @cache
    def find_verification() -> Verification:
        return keep_strongest(scores, pairs, query.labels)

    def influences() -> dict[str, Influence]:
        # The subjects by their number from 0, as in `Verification`.
        numbers = query.labels[lists.probes.rows]
        numbered = []
        for found in searches:
            numbered.append(dataclasses.replace(found, identities=numbers))
        return influences_of(metrics, find_verification(), numbered)

    return Measured(
        metrics,
        influences,
        unresolved=unresolved_metrics(pairs.impostors),
        find_verification=find_verification,
        searches=tuple(searches),
    )


def search(query: Embedded, gallery: Embedded, probes: Listed, listed: Listed) -> Identification:
    """Searches the probes in one gallery."""
    return identify(
        query.embeddings[probes.rows],
        probes.subjects,
        gallery.embeddings[listed.rows],
        listed.subjects,
    )


def verification_metrics(roc: Roc, impostors: int) -> dict[str, float]:
    """Returns TAR at each rate, as published."""
    metrics = {}
    for far in measured_fars(impostors):
        metrics[rate_name("TAR@FAR", far)] = roc.tar_nearest(far)
    return metrics


def measured_fars(impostors: int) -> list[float]:
    """Returns the published rates that accept a pair at all.

    The released code gives them however few pairs that is.
    """
    return [far for far in FARS if far * impostors >= 1]


def unresolved_metrics(impostors: int) -> tuple[str, ...]:
    """Returns the metrics that are given although too few pairs are accepted at their rate."""
    found = []
    for far in measured_fars(impostors):
        if not is_resolvable(far, impostors):
            found.append(rate_name("TAR@FAR", far))
    return tuple(found)


def identification_metrics(searches: Sequence[Identification]) -> dict[str, float]:
    """Returns TPIR and the ranks, each a mean over the galleries."""
    metrics = {}
    if all(found.mated.any() and not found.mated.all() for found in searches):
        for fpir in FPIRS:
            rates = []
            for found in searches:
                threshold = identification.threshold_at(found, fpir)
                rates.append(identification.tpir(found, threshold))
            metrics[rate_name("TPIR@FPIR", fpir)] = float(np.mean(rates))
    of_galleries = []
    for found in searches:
        counts = np.array(identification.rank_counts(found, RANKS))
        mated = max(np.count_nonzero(found.mated), 1)
        of_galleries.append(counts / mated)
    shares = np.mean(of_galleries, axis=0)  # [ranks]
    for rank, share in zip(RANKS, shares, strict=True):
        metrics[f"top-{rank}"] = float(share)
    return metrics


def influences_of(
    metrics: dict[str, float], verification: Verification, searches: Sequence[Identification]
) -> dict[str, Influence]:
    """Returns each metric's influence; TPIR and ranks are means over the galleries."""
    count = verification.identities
    found = {}
    for far in FARS:
        name = rate_name("TAR@FAR", far)
        if name in metrics:
            found[name] = influence.of_tar(verification, far)
    for fpir in FPIRS:
        name = rate_name("TPIR@FPIR", fpir)
        if name in metrics:
            each = [influence.of_tpir(search, fpir, count) for search in searches]
            found[name] = influence.mean_of(each)
    for rank in RANKS:
        each = []
        for search in searches:
            hits = search.others_above[search.mated] < rank
            units = search.identities[search.mated]
            each.append(influence.of_shares(hits, units, count))
        found[f"top-{rank}"] = influence.mean_of(each)
    return found


def keep_strongest(
    scores: np.ndarray, pairs: TemplatePairs, identities: np.ndarray
) -> Verification:
    """Returns the scores of all pairs, of the impostors' the strongest alone.

    Args:
        scores: [pairs]
        pairs: Whose scores they are.
        identities: [templates] the number of each one's subject, from 0.
    """
    rows = np.flatnonzero(~pairs.genuine)
    kept = kept_impostors(max(FARS), len(rows))
    impostors = scores[rows]
    strongest = np.argpartition(-impostors, kept - 1)[:kept]
    strongest = strongest[np.argsort(-impostors[strongest], kind="stable")]
    whole = np.arange(min(kept, KEPT_WHOLE))
    thinned = np.arange(KEPT_WHOLE + EVERY // 2, kept, EVERY)
    chosen = np.concatenate([whole, thinned])
    stands_for = np.where(chosen < KEPT_WHOLE, 1, EVERY).astype(np.float32)
    places = rows[strongest[chosen]]
    number = int(identities.max()) + 1
    of_first = np.bincount(pairs.first[rows], minlength=len(identities))
    of_second = np.bincount(pairs.second[rows], minlength=len(identities))
    impostors_of = np.bincount(identities, of_first + of_second, minlength=number)
    both = np.stack([identities[pairs.first[places]], identities[pairs.second[places]]], 1)
    genuine = scores[pairs.genuine]
    return Verification(
        genuine=genuine,
        genuine_identities=identities[pairs.first[pairs.genuine]],
        impostors=scores[places],
        impostor_identities=both,
        stands_for=stands_for,
        identities=number,
        impostor_pairs=float(len(rows)),
        impostors_of=impostors_of,
        genuine_histogram=histogram(genuine),
        impostor_histogram=histogram(impostors),
    )
