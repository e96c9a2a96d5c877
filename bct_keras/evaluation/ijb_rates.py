"""All 1:1 and 1:N numbers of IJB from the features of its templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from bct_keras.evaluation import identification, influence, templates
from bct_keras.evaluation.identification import Identification, identify
from bct_keras.evaluation.influence import Influence
from bct_keras.evaluation.measured import Measured, is_resolvable, rate_name
from bct_keras.evaluation.roc import Roc, roc_curve
from bct_keras.evaluation.verification import Embedded, Verification, histogram, kept_impostors

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS = (1e-3, 1e-2, 1e-1)
RANKS = (1, 5, 10)
KEPT_WHOLE = 200_000  # of the strongest impostor pairs; beyond them every tenth stands for ten
EVERY = 10


@dataclass(frozen=True)
class TemplatePairs:
    first: np.ndarray  # [pairs] rows of templates; the gallery's side
    second: np.ndarray  # [pairs] the query's side
    genuine: np.ndarray  # [pairs] bool

    @cached_property
    def repeated(self) -> bool:
        """Whether a pair is listed twice, also the other way round."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        count = int(high.max()) + 1
        keys = low.astype(np.min_scalar_type(count * count))  # 32 bits for IJB-C's templates
        keys *= keys.dtype.type(count)
        np.add(keys, high, out=keys, casting="unsafe")
        keys.sort()
        return bool((keys[1:] == keys[:-1]).any())

    def scores(self, query: Embedded, gallery: Embedded) -> np.ndarray:
        first, second = self.first, self.second
        if query is gallery and self.repeated:  # the same product either way round, to the last bit
            first, second = np.minimum(first, second), np.maximum(first, second)
        return templates.pair_scores(gallery.embeddings, query.embeddings, first, second)


def measure(
    query: Embedded,
    gallery: Embedded,
    pairs: TemplatePairs,
    probes: Embedded,
    galleries: Sequence[Embedded],
) -> Measured:
    """Of `probes` and `galleries` the embeddings are rows of templates."""
    scores = pairs.scores(query, gallery)
    roc = roc_curve(scores[pairs.genuine], scores[~pairs.genuine], pairs.repeated)
    searches = [search(query, gallery, probes, listed) for listed in galleries]
    metrics = verification_metrics(
        roc, int(np.count_nonzero(~pairs.genuine))
    ) | identification_metrics(searches)

    @cache
    def find_verification() -> Verification:
        return keep_strongest(scores, pairs, query.labels)

    def influences() -> dict[str, Influence]:
        numbers = query.labels[probes.embeddings]
        return influences_of(
            metrics, find_verification(), [with_numbers(found, numbers) for found in searches]
        )

    impostors = int(np.count_nonzero(~pairs.genuine))
    few = tuple(
        rate_name("TAR@FAR", far)
        for far in measured_fars(impostors)
        if not is_resolvable(far, impostors)
    )
    return Measured(
        metrics, influences, few, find_verification=find_verification, searches=tuple(searches)
    )


def search(
    query: Embedded, gallery: Embedded, probes: Embedded, listed: Embedded
) -> Identification:
    return identify(
        query.embeddings[probes.embeddings],
        probes.labels,
        gallery.embeddings[listed.embeddings],
        listed.labels,
    )


def with_numbers(found: Identification, numbers: np.ndarray) -> Identification:
    """Returns the same with the subjects by their number from 0, as in `Verification`."""
    return Identification(
        numbers, found.mated, found.own, found.best_other, found.others_above, found.best_other_row
    )


def verification_metrics(roc: Roc, impostors: int) -> dict[str, float]:
    return {rate_name("TAR@FAR", far): roc.tar_nearest(far) for far in measured_fars(impostors)}


def measured_fars(impostors: int) -> list[float]:
    """Returns the published rates that accept a pair at all; the released code gives them however few pairs that is."""
    return [far for far in FARS if far * impostors >= 1]


def identification_metrics(searches: Sequence[Identification]) -> dict[str, float]:
    """Each a mean over the galleries."""
    metrics = {}
    if all((~found.mated).any() and found.mated.any() for found in searches):
        for fpir in FPIRS:
            rates = [
                identification.tpir(found, identification.threshold_at(found, fpir))
                for found in searches
            ]
            metrics[rate_name("TPIR@FPIR", fpir)] = float(np.mean(rates))
    counts = np.array([identification.rank_counts(found, RANKS) for found in searches])
    mated = np.array([max(np.count_nonzero(found.mated), 1) for found in searches])
    shares = (counts / mated[:, None]).mean(0)
    return metrics | {
        f"top-{rank}": float(share) for rank, share in zip(RANKS, shares, strict=True)
    }


def influences_of(
    metrics: dict[str, float], verification: Verification, searches: Sequence[Identification]
) -> dict[str, Influence]:
    """Returns each metric's influence; TPIR and ranks are means over the galleries."""
    count = verification.identities
    found = {}
    for far in FARS:
        if rate_name("TAR@FAR", far) in metrics:
            found[rate_name("TAR@FAR", far)] = influence.of_tar(verification, far)
    for fpir in FPIRS:
        if rate_name("TPIR@FPIR", fpir) in metrics:
            each = [influence.of_tpir(search, fpir, count) for search in searches]
            found[rate_name("TPIR@FPIR", fpir)] = influence.mean_of(each)
    for rank in RANKS:
        each = []
        for search in searches:
            hits = search.others_above[search.mated] < rank
            each.append(influence.of_shares(hits, search.identities[search.mated], count))
        found[f"top-{rank}"] = influence.mean_of(each)
    return found


def keep_strongest(
    scores: np.ndarray, pairs: TemplatePairs, identities: np.ndarray
) -> Verification:
    rows = np.flatnonzero(~pairs.genuine)
    kept = kept_impostors(max(FARS), len(rows))
    impostors = scores[rows]
    strongest = np.argpartition(-impostors, kept - 1)[:kept]
    strongest = strongest[np.argsort(-impostors[strongest], kind="stable")]
    chosen = np.concatenate(
        [np.arange(min(kept, KEPT_WHOLE)), np.arange(KEPT_WHOLE + EVERY // 2, kept, EVERY)]
    )
    stands_for = np.where(chosen < KEPT_WHOLE, 1, EVERY).astype(np.float32)
    places = rows[strongest[chosen]]
    number = int(identities.max()) + 1
    of_templates = sum(
        np.bincount(side[rows], minlength=len(identities)) for side in (pairs.first, pairs.second)
    )
    impostors_of = np.bincount(identities, of_templates, minlength=number)
    return Verification(
        scores[pairs.genuine],
        identities[pairs.first[pairs.genuine]],
        scores[places],
        np.stack([identities[pairs.first[places]], identities[pairs.second[places]]], 1),
        stands_for,
        number,
        float(len(rows)),
        impostors_of,
        histogram(scores[pairs.genuine]),
        histogram(impostors),
    )
