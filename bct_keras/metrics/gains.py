"""Computes what the cross-test gains over the old encoder, how sure that is, and curves.

The cross-test searches the new encoder's queries in the old encoder's gallery.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from bct_keras.metrics import influence
from bct_keras.metrics.measured import Measured
from bct_keras.metrics.verdict import CONFIDENCE, TAR, Gain, t_quantile
from bct_keras.metrics.verification import BINS, Verification

CURVE_POINTS = 25
LEAST_IMPOSTORS = 5  # accepted, at a curve's first point


def gains(old: Measured, cross: Measured) -> dict[str, Any]:
    """Returns each metric's `gain`, and whether it is `above_old`.

    That is the papers' condition M(new, old) > M(old, old).
    """
    gain, above = {}, {}
    for metric, value in old.metrics.items():
        gain[metric] = cross.metrics[metric] - value
        above[metric] = gain[metric] > 0
    return {"gain": gain, "above_old": above}


def evidence(old: Measured, cross: Measured) -> dict[str, Any]:
    """Returns the standard `error` and the 95 % `interval` of each gain.

    Returns nothing where a test gives numbers alone.
    """
    if not (old.influences and cross.influences):
        return {}
    # The same people in both tests: what makes an identity easy for both is no part of the
    # difference.
    before, after = old.influences(), cross.influences()
    error, interval = {}, {}
    units = 0
    for metric, value in old.metrics.items():
        difference = after[metric] - before[metric]
        units = len(difference.own)
        standard_error = difference.standard_error()
        gain = Gain(metric, value, cross.metrics[metric], standard_error, units)
        error[metric] = gain.error
        interval[metric] = list(gain.interval() or ())
    found: dict[str, Any] = {"interval": interval, "error": error}
    found["units"] = {"count": units, "name": old.units}
    if old.unresolved:
        found["unresolved"] = list(old.unresolved)
    return found


def against_independent(
    measured: dict[str, dict[str, float]], independent: dict[str, float]
) -> dict[str, dict[str, float | None]]:
    """Returns the update gain and the compatibility tax of each metric.

    Args:
        measured: The metrics M of each test.
        independent: Those M(*, *) of the new network trained without constraint.
    """
    old, cross, new = measured["old/old"], measured["new/old"], measured["new/new"]
    update_gain: dict[str, float | None] = {}
    tax: dict[str, float | None] = {}
    for metric, best in independent.items():
        # (M(n, o) - M(o, o)) / (M(*, *) - M(o, o)), and M(*, *) - M(n, n)
        room = best - old[metric]
        update_gain[metric] = (cross[metric] - old[metric]) / room if room > 0 else None
        tax[metric] = best - new[metric]
    return {"update_gain": update_gain, "tax": tax}


def rates_of(metrics: Iterable[str]) -> dict[str, float]:
    """Returns the false accept rate of each metric that has one."""
    rates = {}
    for metric in metrics:
        if metric.startswith(TAR):
            rates[metric] = float(metric.removeprefix(TAR))
    return rates


def thresholds(found: Verification, metrics: Iterable[str]) -> dict[str, float]:
    """Returns the cosine at each false accept rate that the metrics have."""
    rates = rates_of(metrics)
    cosines = found.thresholds(list(rates.values())).tolist()
    return dict(zip(rates, cosines, strict=True))


def carried_over(cosines: dict[str, float], found: Verification) -> dict[str, dict[str, float]]:
    """Returns what becomes of FAR and TAR where thresholds are those of another test.

    Args:
        cosines: The threshold at each rate there: the ones in use today.
        found: The pairs of the test that they are now held against.

    Returns:
        For each rate `far` and `tar`, the shares of pairs above the threshold.
    """
    rates = {}
    for metric, cosine in cosines.items():
        far, tar = found.rates_above(cosine)
        rates[metric] = {"far": far, "tar": tar}
    return rates


def curves(found: Verification) -> dict[str, Any]:
    """Returns the ROC with its interval, and the histograms of the scores."""
    impostors = found.impostor_pairs
    highest = 0.8 * float(found.stands_for.sum()) / impostors
    lowest = min(LEAST_IMPOSTORS / impostors, highest / 2)
    fars = np.geomspace(lowest, highest, CURVE_POINTS).tolist()
    tars, lows, highs = [], [], []
    for far in fars:
        _, tar = found.threshold_and_tar(far)
        error = influence.of_tar(found, far).standard_error()
        low, high = interval_of_share(tar, error, found.identities)
        tars.append(tar)
        lows.append(low)
        highs.append(high)
    return {
        "far": fars,
        "tar": tars,
        "low": lows,
        "high": highs,
        "score": ((BINS[1:] + BINS[:-1]) / 2).tolist(),
        "genuine": shares(found.genuine_histogram),
        "impostors": shares(found.impostor_histogram),
    }


def interval_of_share(value: float, error: float, units: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share between 0 and 1.

    It is taken on the share's log odds, log(p / (1 - p)), so that it stays between 0 and 1.

    Args:
        value: The share that was measured.
        error: Its standard error.
        units: How many identities it rests on.
    """
    quantile = t_quantile(0.5 + CONFIDENCE / 2, units - 1)
    reach = quantile * error
    if not 0.0 < value < 1.0:
        return max(value - reach, 0.0), min(value + reach, 1.0)
    odds = value / (1.0 - value)
    step = np.exp(reach / (value * (1.0 - value)))
    low, high = odds / step, odds * step
    return float(low / (1.0 + low)), float(high / (1.0 + high))


def shares(counts: np.ndarray) -> list[float]:
    """Returns each count as a share of all."""
    total = max(counts.sum(), 1)
    return (counts / total).tolist()
