"""Measures 1:N search: probes are searched in a gallery that has each subject once.

A probe is a query, and a subject a person. Probes of subjects in the gallery have to be found, and
those of others turned away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras.errors import InputError
from bct_keras.metrics.ranking import same_identity
from bct_keras.metrics.verification import TIE

PROBES_AT_ONCE = 4096


@dataclass(frozen=True)
class Identification:
    """Holds what the search of each probe comes to.

    A probe is mated where its subject is in the gallery.
    """

    identities: np.ndarray  # [probes] the subject's number, from 0
    mated: np.ndarray  # [probes] bool
    own: np.ndarray  # [probes] score of its own subject; -inf where it has none
    best_other: np.ndarray  # [probes] best score of another subject
    others_above: np.ndarray  # [probes] how many other subjects score at least as high as its own
    best_other_row: np.ndarray  # [probes] which row of the gallery that best other one is


def tpir_at_fpir(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray, fpir: float = 1e-2
) -> float:
    """Returns the true positive identification rate at a false positive identification rate.

    Queries whose identity is not in the gallery set the threshold: this share of them has a score
    that reaches it. The others are found where their own identity comes first, and above the
    threshold.

    Args:
        scores: [queries, gallery] similarities, the higher the nearer.
        query_labels: [queries] identities; both kinds are needed.
        gallery_labels: [gallery] identities, of which each may have several images.
        fpir: The share of queries of unknown identities that may raise an alarm.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.4], [0.3, 0.5]])
        >>> tpir_at_fpir(scores, np.array([0, 1, 2]), np.array([0, 1]))  # by 0.5, of identity 2
        0.5
    """
    found = identified(scores, query_labels, gallery_labels)
    if not (found.mated.any() and not found.mated.all()):
        raise InputError(
            "queries whose identity is in the gallery are needed, and queries whose identity is not"
        )
    return tpir(found, threshold_at(found, fpir))


def identified(
    scores: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray
) -> Identification:
    """Returns what each query's search comes to.

    Args:
        scores: [queries, gallery] similarities, the higher the nearer.
        query_labels: [queries] identities.
        gallery_labels: [gallery] identities, of which each may have several images.
    """
    same = same_identity(scores, query_labels, gallery_labels)
    own = np.where(same, scores, -np.inf).max(1)
    others = np.where(same, -np.inf, scores)
    best_row = others.argmax(1)
    return Identification(
        identities=np.asarray(query_labels),
        mated=np.asarray(same.any(1)),
        own=own,
        best_other=others[np.arange(len(others)), best_row],
        others_above=np.count_nonzero(others > own[:, None] - TIE, axis=1),
        best_other_row=best_row,
    )


def identify(
    probes: np.ndarray,
    probe_subjects: np.ndarray,
    gallery: np.ndarray,
    gallery_subjects: np.ndarray,
) -> Identification:
    """Searches probes in a gallery that has each subject once.

    Args:
        probes: [probes, dims] of length 1.
        probe_subjects: [probes] their subjects.
        gallery: [gallery, dims] of length 1.
        gallery_subjects: [gallery] their subjects, each once.
    """
    by_subject = np.argsort(gallery_subjects)
    place = np.searchsorted(gallery_subjects, probe_subjects, sorter=by_subject)
    own_row = by_subject[np.minimum(place, len(gallery) - 1)]
    mated = gallery_subjects[own_row] == probe_subjects
    columns = np.ascontiguousarray(gallery.T)
    own = np.empty(len(probes), np.float32)
    best_other = np.empty(len(probes), np.result_type(probes, gallery))
    others_above = np.empty(len(probes), np.int64)
    best_other_row = np.empty(len(probes), np.int64)
    for start in range(0, len(probes), PROBES_AT_ONCE):
        block = slice(start, start + PROBES_AT_ONCE)
        scores = probes[block] @ columns  # [probes, gallery]
        row = np.arange(len(scores))
        own_column = own_row[block]
        is_mated = mated[block]
        own[block] = np.where(is_mated, scores[row, own_column], -np.inf)
        # Its own subject is taken out, where it is there; what remains is other subjects.
        scores[row[is_mated], own_column[is_mated]] = -np.inf
        best = scores.argmax(1)
        best_other[block] = scores[row, best]
        others_above[block] = np.count_nonzero(scores >= own[block][:, None], axis=1)
        best_other_row[block] = best
    return Identification(
        identities=probe_subjects,
        mated=mated,
        own=own,
        best_other=best_other,
        others_above=others_above,
        best_other_row=best_other_row,
    )


def threshold_at(found: Identification, fpir: float) -> float:
    """Returns the score that so large a share of the probes that are not mated reaches.

    Of the best scores of these n probes it is the one at place max(int(n * fpir) - 1, 0), the
    largest being at place 0.
    """
    unmated = found.best_other[~found.mated]
    falling = np.sort(unmated)[::-1]
    place = max(int(len(falling) * fpir) - 1, 0)
    return float(falling[place])


def tpir(found: Identification, threshold: float) -> float:
    """Returns the share of mated probes that are found.

    The probe's own subject has to score above every other subject, and above the threshold.
    """
    first = (found.others_above == 0) & (found.own > threshold)
    return float(np.mean(first[found.mated]))


def rank_counts(found: Identification, ranks: Sequence[int]) -> list[int]:
    """Returns how many mated probes are found at each rank."""
    others_above = found.others_above[found.mated]
    counts = []
    for rank in ranks:
        counts.append(int(np.count_nonzero(others_above < rank)))
    return counts
