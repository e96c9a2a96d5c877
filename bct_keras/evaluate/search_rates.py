"""Measures a search in a gallery that may hold each identity several times: all its rates."""

from collections.abc import Collection
from typing import Any

import numpy as np

from bct_keras.evaluate.division import Division
from bct_keras.metrics import identification, influence
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured, is_resolvable, rate_name
from bct_keras.metrics.ranking import RECALL_RANKS
from bct_keras.metrics.refresh import SHARES, as_curve, random_order
from bct_keras.metrics.search import Searched, search
from bct_keras.metrics.search_refresh import AtShare, RefreshSearch
from bct_keras.metrics.verification import Embedded

FARS = (1e-2, 1e-3, 1e-4)
FPIRS = (1e-1, 1e-2)
RANKS = (1, 5)


def impostor_pairs(labels: np.ndarray, division: Division) -> int:
    """Returns how many pairs of a query and an image of the gallery are of two identities."""
    identities = int(labels.max()) + 1
    queries_of = np.bincount(labels[division.query], minlength=identities)  # [identities]
    images_of = np.bincount(labels[division.gallery], minlength=identities)  # [identities]
    all_pairs = queries_of.sum() * images_of.sum()
    genuine_pairs = queries_of @ images_of
    return int(all_pairs - genuine_pairs)


def measure(query: Embedded, gallery: Embedded) -> Measured:
    """Returns all metrics of a search in a gallery that may hold each identity several times.

    Args:
        query: Queries of every identity.
        gallery: The gallery, by the same encoder or by one that it can be searched with.
    """
    found = search(query, gallery, max(FARS))
    metrics = metrics_of(found)
    return Measured(
        metrics,
        lambda: influences_of(metrics, found),
        find_verification=lambda: found.verification,
        searches=(found.whole,),
    )


def refreshed(query: Embedded, old: Embedded, new: Embedded) -> dict[str, Any]:
    """Returns each metric at each share of an old gallery that is re-embedded, and its area."""
    images = len(old.labels)
    ends = [round(share * images) for share in SHARES]
    searches = RefreshSearch(
        query=query,
        old=old,
        new=new,
        order=random_order(images),
        ends=ends,
        highest_far=max(FARS),
    )
    return as_curve([metrics_of(found) for found in searches.search()])


def metrics_of(found: Searched | AtShare) -> dict[str, float]:
    """Returns all metrics of what a search comes to."""
    metrics = found.rates(FARS, RANKS)
    metrics["mAP"] = float(found.average_precision.mean())
    metrics[f"Recall@{RECALL_RANKS}"] = float(found.recall.mean())
    for fpir in resolvable(found):
        rates = []
        for half in found.halves:
            threshold = identification.threshold_at(half, fpir)
            rates.append(identification.tpir(half, threshold))
        metrics[rate_name("TPIR@FPIR", fpir)] = float(np.mean(rates))
    return metrics


def resolvable(found: Searched | AtShare) -> list[float]:
    """Returns the rates at which enough queries of unseen identities are let in."""
    mated, unmated = [], []
    for half in found.halves:
        mated.append(int(np.count_nonzero(half.mated)))
        unmated.append(int(np.count_nonzero(~half.mated)))
    if not min(mated):
        return []
    return [fpir for fpir in FPIRS if is_resolvable(fpir, min(unmated))]


def influences_of(metrics: Collection[str], searched: Searched) -> dict[str, Influence]:
    """Returns each metric's influence; the gallery that is searched stays as it is."""
    verification = searched.verification
    count = verification.identities
    whole = searched.whole
    found = {}
    for far in FARS:
        name = rate_name("TAR@FAR", far)
        if name in metrics:
            found[name] = influence.of_tar(verification, far)
    # What each query counts in a mean over the queries
    shares = {}
    for rank in RANKS:
        shares[f"top-{rank}"] = whole.mated & (whole.others_above < rank)
    shares["mAP"] = searched.average_precision
    shares[f"Recall@{RECALL_RANKS}"] = searched.recall
    for name, values in shares.items():
        found[name] = influence.of_shares(values, whole.identities, count)
    for fpir in FPIRS:
        name = rate_name("TPIR@FPIR", fpir)
        if name in metrics:
            halves = [influence.of_tpir(half, fpir, count) for half in searched.halves]
            found[name] = influence.mean_of(halves)
    return found
