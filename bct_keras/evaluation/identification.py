"""1:N search of probes in a gallery that has each subject once: who is found, and who is turned away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROBES_AT_ONCE = 4096


@dataclass(frozen=True)
class Identification:
    """What the search of each probe came to. A probe is mated where its subject is in the gallery."""

    identities: np.ndarray  # [probes] the subject's number, from 0
    mated: np.ndarray  # [probes] bool
    own: np.ndarray  # [probes] score of its own subject; -inf where it has none
    best_other: np.ndarray  # [probes] best score of another subject
    others_above: np.ndarray  # [probes] how many other subjects score at least as high as its own
    best_other_row: np.ndarray  # [probes] which row of the gallery that best other one is


def identify(
    probes: np.ndarray, probe_subjects: np.ndarray, gallery: np.ndarray, gallery_subjects: np.ndarray
) -> Identification:
    """The gallery has each subject once."""
    by_subject = np.argsort(gallery_subjects)
    place = np.searchsorted(gallery_subjects, probe_subjects, sorter=by_subject)
    own_row = by_subject[np.minimum(place, len(gallery) - 1)]
    mated = gallery_subjects[own_row] == probe_subjects
    blocks = []
    columns = np.ascontiguousarray(gallery.T)
    for start in range(0, len(probes), PROBES_AT_ONCE):
        block = slice(start, start + PROBES_AT_ONCE)
        scores = probes[block] @ columns
        row = np.arange(len(scores))
        own = np.where(mated[block], scores[row, own_row[block]], -np.inf).astype(np.float32)
        # Its own subject is taken out, where it is there; what remains is other subjects.
        scores[row[mated[block]], own_row[block][mated[block]]] = -np.inf
        best_row = scores.argmax(1)
        above = np.count_nonzero(scores >= own[:, None], axis=1)
        blocks.append((own, scores[row, best_row], above, best_row))
    return Identification(probe_subjects, mated, *(np.concatenate(column) for column in zip(*blocks, strict=True)))


def threshold_at(found: Identification, fpir: float) -> float:
    """The max(int(n f) - 1, 0)-th largest of the best scores of the n probes that are not mated."""
    best = np.sort(found.best_other[~found.mated])[::-1]
    return float(best[max(int(len(best) * fpir) - 1, 0)])


def tpir(found: Identification, threshold: float) -> float:
    """Mated probes whose own subject is strictly above every other one and above the threshold."""
    first = (found.others_above == 0) & (found.own > threshold)
    return float(np.mean(first[found.mated]))


def rank_counts(found: Identification, ranks: Sequence[int]) -> list[int]:
    return [int(np.count_nonzero(found.others_above[found.mated] < rank)) for rank in ranks]
