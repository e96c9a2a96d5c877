"""What the cross-test gains over the old encoder, and whether that is more than chance."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bct_keras.evaluation.measured import Measured
from bct_keras.evaluation.verification import BINS, Verification, identity_weights

TAR = "TAR@FAR="
DRAWS = 500
CURVE_DRAWS = 100
SEED = 0
INTERVAL = (2.5, 97.5)  # per cent: 95 % of the draws lie between
CURVE_POINTS = 25
LEAST_IMPOSTORS = 5  # accepted, at a curve's first point


def is_compatible(cross: float, old: float) -> bool:
    """M(new, old) > M(old, old); where the old encoder is never wrong, neither may the new one be"""
    return cross > old or cross == old == 1.0


def gains(old: Measured, cross: Measured) -> dict[str, dict[str, Any]]:
    return {
        "gain": {metric: cross.metrics[metric] - value for metric, value in old.metrics.items()},
        "compatible": {metric: is_compatible(cross.metrics[metric], value) for metric, value in old.metrics.items()},
    }


def evidence(old: Measured, cross: Measured) -> dict[str, Any]:
    """`interval` of each gain, and `shown` where all of it is above 0."""
    if not (old.resample and cross.resample):
        return {}
    # The same identities in both, so that what makes a draw easy for both is no part of the difference.
    before, after = old.resample(DRAWS, SEED), cross.resample(DRAWS, SEED)
    interval = {metric: np.nanpercentile(after[metric] - before[metric], INTERVAL).tolist() for metric in before}
    gain = gains(old, cross)["gain"]
    return {
        "interval": interval,
        "shown": {metric: gain[metric] > 0 and low > 0 for metric, (low, _) in interval.items()},
        "resampled": f"{DRAWS} draws of {old.resampled_units} with replacement, 95 % interval",
    }


def against_independent(
    measured: dict[str, dict[str, float]], independent: dict[str, float]
) -> dict[str, dict[str, float | None]]:
    """Update gain (M(n,o) - M(o,o)) / (M(*,*) - M(o,o)) and compatibility tax M(*,*) - M(n,n)."""
    old, cross, new = (measured[test] for test in ("old/old", "new/old", "new/new"))
    headroom = {metric: independent[metric] - old[metric] for metric in old}
    return {
        "update_gain": {
            metric: (cross[metric] - old[metric]) / room if room > 0 else None for metric, room in headroom.items()
        },
        "tax": {metric: independent[metric] - new[metric] for metric in old},
    }


def thresholds(found: Verification, metrics: Iterable[str]) -> dict[str, float]:
    """The cosine at each false accept rate that the metrics have."""
    names = [metric for metric in metrics if metric.startswith(TAR)]
    values = found.thresholds([float(name.removeprefix(TAR)) for name in names])
    return dict(zip(names, values.tolist(), strict=True))


def curves(found: Verification) -> dict[str, Any]:
    """The ROC with its interval, and the histograms of the scores."""
    everyone = np.ones((1, found.identities))
    impostors = float(found.weigh_impostors(everyone)[0])
    highest = 0.8 * float(found.stands_for.sum()) / impostors  # a draw may need a quarter more
    fars = np.geomspace(min(LEAST_IMPOSTORS / impostors, highest / 2), highest, CURVE_POINTS)
    drawn = found.tar(identity_weights(found.identities, CURVE_DRAWS, SEED), fars.tolist())
    low, high = np.percentile(drawn, INTERVAL, axis=0)
    return {
        "far": fars.tolist(),
        "tar": found.tar(everyone, fars.tolist())[0].tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "score": ((BINS[1:] + BINS[:-1]) / 2).tolist(),
        "genuine": shares(found.genuine_histogram),
        "impostors": shares(found.impostor_histogram),
    }


def shares(counts: np.ndarray) -> list[float]:
    return (counts / max(counts.sum(), 1)).tolist()


def sentence(found: Sequence[dict[str, Any]]) -> str | None:
    """How much of the verdict is shown, over all protocols; none where nothing was drawn."""
    named = [(metric, shown) for result in found for metric, shown in result.get("shown", {}).items()]
    if not named:
        return None
    missing = [metric for metric, shown in named if not shown]
    total = f"shown on {len(named) - len(missing)} of {len(named)} metrics (95 % interval above 0)"
    some = 0 < len(missing) < len(named)
    return f"{total}; not shown: {', '.join(missing)}" if some else total
