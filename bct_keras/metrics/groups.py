"""Measures verification within groups of images at one threshold for all, and the equal error rate.

One threshold decides for everybody, and its error rates need not be alike: NIST's tests of face
recognition and ISO/IEC 19795-10 therefore report them by group.
"""

from dataclasses import dataclass

import numpy as np

from bct_keras.metrics.influence import of_shares
from bct_keras.metrics.measured import is_resolvable
from bct_keras.metrics.verdict import CONFIDENCE, t_quantile
from bct_keras.metrics.verification import TIE, Embedded, Verification, cosines_of

SCORES_AT_ONCE = 2_000_000  # 8 MB
# With fewer, the interval of a share is as wide as what groups differ by.
FEWEST_IDENTITIES = 30
HALVINGS = 40  # of the cosines in which the equal error rate is looked for


@dataclass(frozen=True)
class GroupRates:
    """Holds what a threshold does within one group: pairs both of whose images are of it."""

    identities: int
    queries: int
    images: int  # in the gallery
    genuine_pairs: int
    impostor_pairs: int
    tar: float  # the share of genuine pairs that is accepted; nan without any
    interval: tuple[float, float] | None  # of `tar`, over identities
    fmr: float  # the share of impostor pairs that is accepted; nan without any

    def is_too_small(self, far: float) -> bool:
        """Tells whether the group says nothing at a threshold for this rate of false accepts.

        It has too few identities, or at this rate too few of its impostor pairs would be accepted.
        """
        few = self.identities < FEWEST_IDENTITIES
        return few or not is_resolvable(far, self.impostor_pairs)


def group_rates(query: Embedded, gallery: Embedded, threshold: float) -> GroupRates:
    """Returns what a threshold does among the queries and the images of one group.

    Args:
        query: The group's queries.
        gallery: The group's images in the gallery.
        threshold: The cosine above which a pair is accepted.
    """
    genuine: list[np.ndarray] = []
    identities: list[np.ndarray] = []
    accepted_impostors = 0
    step = max(1, SCORES_AT_ONCE // max(len(gallery.labels), 1))
    for start in range(0, len(query.labels), step):
        labels = query.labels[start : start + step]
        scores = cosines_of(query.embeddings[start : start + step], gallery.embeddings.T)
        same = labels[:, None] == gallery.labels
        accepted = scores > threshold
        genuine.append(scores[same] > threshold + TIE)
        identities.append(np.repeat(labels, same.sum(axis=1)))
        accepted_impostors += int(np.count_nonzero(accepted & ~same))
    hits = np.concatenate([*genuine, np.empty(0, bool)])
    _, units = np.unique(np.concatenate([*identities, np.empty(0, np.int64)]), return_inverse=True)
    impostors = len(query.labels) * len(gallery.labels) - len(hits)
    # TAR = accepted genuine pairs / genuine pairs, FMR = accepted impostor pairs / impostor pairs
    return GroupRates(
        identities=len(np.unique(units)),
        queries=len(query.labels),
        images=len(gallery.labels),
        genuine_pairs=len(hits),
        impostor_pairs=impostors,
        tar=float(hits.mean()) if len(hits) else float("nan"),
        interval=interval_of_mean(hits, units) if len(hits) else None,
        fmr=accepted_impostors / impostors if impostors else float("nan"),
    )


def interval_of_mean(hits: np.ndarray, units: np.ndarray) -> tuple[float, float] | None:
    """Returns the 95 % interval of a share over units, within 0 and 1; None for a single unit.

    Args:
        hits: [rows] what the share is taken of.
        units: [rows] the number of each one's unit, from 0.
    """
    count = int(units.max()) + 1
    if count < 2:
        return None
    error = of_shares(hits.astype(float), units, count).standard_error()
    reach = t_quantile(0.5 + CONFIDENCE / 2, count - 1) * error
    value = float(hits.mean())
    return max(value - reach, 0.0), min(value + reach, 1.0)


def equal_error(found: Verification) -> dict[str, float]:
    """Returns the equal error `rate` of a search, and the `threshold` where it is.

    Below the impostors that were kept FAR is read off a histogram, so that the rate is exact to
    about a hundredth of itself.
    """
    low, high = -1.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        far, tar = found.rates_above(middle)
        if far > 1.0 - tar:  # more false accepts than false rejects: a higher threshold
            low = middle
        else:
            high = middle
    far, tar = found.rates_above(high)
    return {"rate": (far + 1.0 - tar) / 2, "threshold": high}
