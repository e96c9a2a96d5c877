"""What the cross-test gains over the old encoder and how sure that is, and the curves of a report."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from bct_keras.evaluation import influence
from bct_keras.evaluation.measured import Measured
from bct_keras.evaluation.verdict import CONFIDENCE, TAR, Gain, t_quantile
from bct_keras.evaluation.verification import BINS, Verification

CURVE_POINTS = 25
LEAST_IMPOSTORS = 5  # accepted, at a curve's first point


def gains(old: Measured, cross: Measured) -> dict[str, Any]:
    """Returns each metric's `gain`, and whether it is `above_old`: the papers' condition M(new, old) > M(old, old)."""
    gain = {metric: cross.metrics[metric] - value for metric, value in old.metrics.items()}
    return {"gain": gain, "above_old": {metric: value > 0 for metric, value in gain.items()}}


def evidence(old: Measured, cross: Measured) -> dict[str, Any]:
    """Returns the standard `error` and the 95 % `interval` of each gain; nothing where a test gives numbers alone."""
    if not (old.influences and cross.influences):
        return {}
    # The same people in both tests: what makes an identity easy for both is no part of the difference.
    before, after = old.influences(), cross.influences()
    error, interval = {}, {}
    units = 0
    for metric, value in old.metrics.items():
        difference = after[metric] - before[metric]
        units = len(difference.own)
        found = Gain(metric, value, cross.metrics[metric], difference.standard_error(), units)
        error[metric] = found.error
        interval[metric] = list(found.interval() or ())
    found = {"interval": interval, "error": error, "units": {"count": units, "name": old.units}}
    return found | ({"unresolved": list(old.unresolved)} if old.unresolved else {})


def against_independent(
    measured: dict[str, dict[str, float]], independent: dict[str, float]
) -> dict[str, dict[str, float | None]]:
    """Update gain (M(n,o) - M(o,o)) / (M(*,*) - M(o,o)) and compatibility tax M(*,*) - M(n,n)."""
    old, cross, new = (measured[test] for test in ("old/old", "new/old", "new/new"))
    headroom = {metric: independent[metric] - old[metric] for metric in old}
    return {
        "update_gain": {
            metric: (cross[metric] - old[metric]) / room if room > 0 else None
            for metric, room in headroom.items()
        },
        "tax": {metric: independent[metric] - new[metric] for metric in old},
    }


def thresholds(found: Verification, metrics: Iterable[str]) -> dict[str, float]:
    """Returns the cosine at each false accept rate that the metrics have."""
    names = [metric for metric in metrics if metric.startswith(TAR)]
    values = found.thresholds([float(name.removeprefix(TAR)) for name in names])
    return dict(zip(names, values.tolist(), strict=True))


def curves(found: Verification) -> dict[str, Any]:
    """Returns the ROC with its interval, and the histograms of the scores."""
    impostors = found.impostor_pairs
    highest = 0.8 * float(found.stands_for.sum()) / impostors
    fars = np.geomspace(
        min(LEAST_IMPOSTORS / impostors, highest / 2), highest, CURVE_POINTS
    ).tolist()
    tar, low, high = [], [], []
    for far in fars:
        value = found.threshold_and_tar(far)[1]
        ends = interval_of_share(
            value, influence.of_tar(found, far).standard_error(), found.identities
        )
        tar.append(value)
        low.append(ends[0])
        high.append(ends[1])
    return {
        "far": fars,
        "tar": tar,
        "low": low,
        "high": high,
        "score": ((BINS[1:] + BINS[:-1]) / 2).tolist(),
        "genuine": shares(found.genuine_histogram),
        "impostors": shares(found.impostor_histogram),
    }


def interval_of_share(value: float, error: float, units: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share between 0 and 1, taken on its log odds so that it stays between them."""
    reach = t_quantile(0.5 + CONFIDENCE / 2, units - 1) * error
    if not 0.0 < value < 1.0:
        return max(value - reach, 0.0), min(value + reach, 1.0)
    odds, step = value / (1.0 - value), np.exp(reach / (value * (1.0 - value)))
    return float(odds / step / (1.0 + odds / step)), float(odds * step / (1.0 + odds * step))


def shares(counts: np.ndarray) -> list[float]:
    return (counts / max(counts.sum(), 1)).tolist()
