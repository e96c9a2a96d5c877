"""When a loss refuses a file: where it is shown to be above the limit, or is far above it."""

import numpy as np
import pytest

from bct_keras.export.gate import judged, loss_intervals
from bct_keras.metrics.influence import of_shares
from bct_keras.metrics.measured import Measured

LIMIT = 0.01


@pytest.mark.parametrize(
    ("loss", "interval", "refuses"),
    [
        (0.0113, (0.002, 0.021), False),  # int8 on another processor: nine queries of a thousand
        (0.0113, (0.0101, 0.0125), True),  # all of it above the limit
        (0.0113, (0.01, 0.0126), False),  # just the limit may be lost
        (0.0113, None, True),  # a protocol that gives numbers alone
        (0.019, (-0.02, 0.06), False),
        (
            0.021,
            (-0.02, 0.06),
            True,
        ),  # more than twice the limit: not let out for want of identities
        (float("inf"), None, True),
        (float("nan"), (float("nan"), float("nan")), True),
    ],
)
def test_a_loss_above_the_limit_counts_where_it_is_shown_or_far_above(loss, interval, refuses):
    found = judged("top-1 of faces", loss, interval, LIMIT)
    assert found.refuses is refuses
    assert found.text.startswith(f"top-1 of faces loses {loss:.2%}")
    assert found.text.endswith("not shown to be above 1.00%") is not refuses


def test_without_a_limit_no_loss_is_let_out():
    assert judged("top-1 of faces", 0.001, (-0.01, 0.012), limit=0.0).refuses


def from_identities(found: np.ndarray) -> Measured:
    """Returns the share of queries that are found, of one query an identity."""
    part = of_shares(found.astype(float), np.arange(len(found)), len(found))
    return Measured({"top-1": float(found.mean())}, lambda: {"top-1": part})


def test_the_interval_is_of_the_paired_loss():
    encoder = np.arange(1000) % 2 == 0  # half of the queries are found
    file = encoder.copy()
    file[:18:2] = False  # and nine of them no more: 1.8 % of 500
    low, high = loss_intervals(from_identities(encoder), from_identities(file))["top-1"]
    # 9 of 1,000: a deviation of 3, of 500 that is 0.6 %; were it not paired it would be 22 of 500.
    assert 0.004 < low < 0.009 < 0.027 < high < 0.032


def test_a_protocol_of_numbers_alone_has_no_interval():
    assert loss_intervals(Measured({"top-1": 0.5}), Measured({"top-1": 0.4})) == {}


def test_of_nothing_nothing_can_be_lost():
    none = from_identities(np.zeros(10))
    assert loss_intervals(none, none) == {}
