"""What is decided on gains that are known."""

from pathlib import Path

import pytest

from bct_keras.advise.candidates import (
    ADAPTED,
    BACKFILL,
    FUSED,
    KEEP,
    MOVED,
    TRAINED,
    Route,
)
from bct_keras.advise.decision import decided
from bct_keras.advise.measuring import Found
from bct_keras.encoders import Encoder
from bct_keras.metrics.verdict import COMPATIBLE, NOT_COMPATIBLE, UNDECIDED, Gain, Verdict

UNITS = 1000  # enough for an interval of about 1.96 errors


class Named(Encoder):
    """Has a name and nothing else."""

    def __init__(self, name: str):
        super().__init__(Path(name), 0, 4)

    def embed(self, images):
        raise NotImplementedError


OLD, NEW, OTHER = Named("old"), Named("new"), Named("other")
NO_GAIN = Gain("mean", 0.5, 0.5, 0.0, UNITS)


def gain(value: float, error: float | None = 0.01) -> Gain:
    return Gain("mean", 0.5, 0.5 + value, error, UNITS)


def found(
    kind: str,
    value: float,
    word: str = COMPATIBLE,
    alone: Gain | None = None,
    error: float | None = 0.01,
    own: Encoder = NEW,
) -> Found:
    networks = (own, OLD) if kind == FUSED else (own,)
    name = f"{kind} {own.path}"
    route = Route(kind=kind, name=name, queries=own, gallery=OLD, own=own, networks=networks)
    return Found(
        route=route,
        verdict=None if kind == KEEP else Verdict(word, f"because of {name}"),
        measured={},
        facts={},
        deciding=[gain(value, error)],
        gain=gain(value, error),
        alone=alone or gain(0.3),
        tax=NO_GAIN,
    )


KEPT = found(KEEP, 0.0, own=OLD)
ALL = found(BACKFILL, 0.3)


def difference(error: float):
    """The difference of two routes' gains, with the same error for any two."""

    def of(first: Found, second: Found) -> Gain:
        return Gain("mean", first.gain.cross, second.gain.cross, error, UNITS)

    return of


def test_the_highest_gain_wins_where_it_is_shown_to_be_higher():
    routes = [KEPT, found(TRAINED, 0.1, own=OTHER), found(FUSED, 0.15), found(MOVED, 0.05), ALL]
    decision = decided(routes, difference(0.01))
    assert decision.route == "fused new"
    assert decision.line.startswith("Fuse each query of new with the old encoder's: mean +0.1500")
    assert set(decision.others) == {"trained other", "moved new"}
    assert "shown to gain less than fused new: -0.0500" in decision.others["trained other"]
    assert not decision.unsure


def test_of_two_that_cannot_be_told_apart_the_cheaper_query_wins():
    routes = [KEPT, found(FUSED, 0.15), found(MOVED, 0.14), found(ADAPTED, 0.135)]
    decision = decided(routes, difference(0.01))
    assert decision.route == "moved new"
    assert any("moved new and fused new cannot be told apart" in each for each in decision.unsure)
    assert "runs 2 networks for a query" in decision.others["fused new"]
    assert "not shown to be worse than moved new" in decision.others["adapted new"]


def test_what_is_proven_wins_over_what_is_undecided_and_as_good():
    routes = [KEPT, found(MOVED, 0.15, UNDECIDED), found(FUSED, 0.14)]
    decision = decided(routes, difference(0.01))
    assert decision.route == "fused new"
    assert decision.others["moved new"].startswith("its verdict is undecided")


def test_an_undecided_route_that_is_clearly_best_is_named_with_its_verdict():
    decision = decided([KEPT, found(MOVED, 0.15, UNDECIDED), found(FUSED, 0.1)], difference(0.01))
    assert decision.route == "moved new"
    assert "The verdict on moved new is undecided: because of moved new" in decision.unsure


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (found(MOVED, 0.2, NOT_COMPATIBLE), "not compatible: because of moved new"),
        (found(MOVED, 0.015), "not shown to be better than the old encoder: +0.0150"),
        (found(MOVED, 0.2, error=None), "numbers without what they rest on"),
        (found(MOVED, 0.2, alone=gain(0.01)), "new is not shown to be better on its own"),
    ],
)
def test_a_route_that_is_not_shown_to_be_better_leaves_the_old_encoder(route, said):
    decision = decided([KEPT, route, ALL], difference(0.01))
    assert decision.route == "keep old"
    assert decision.action == "Keep the old encoder"
    assert said in decision.others["moved new"]


def test_identities_that_are_too_few_are_told():
    # 1.96 + 0.84 errors of the gain fit into it at (2.80 * 0.01 / 0.015)^2 = 3.5 times as many.
    decision = decided([KEPT, found(MOVED, 0.015)], difference(0.01))
    assert any("about 3,500 identities would show it" in each for each in decision.unsure)


def test_a_second_network_is_not_taken_for_a_better_one():
    no_better = gain(-0.01)
    routes = [KEPT, found(MOVED, -0.1, alone=no_better), found(FUSED, 0.1, alone=no_better)]
    decision = decided(routes, difference(0.01))
    assert decision.route == "keep old"
    assert "no new encoder is shown to be better on its own" in decision.because
    assert any("what a second network gives" in each for each in decision.unsure)


def test_another_encoder_that_is_better_on_its_own_can_still_win():
    routes = [
        KEPT,
        found(MOVED, 0.2, alone=gain(0.0)),
        found(TRAINED, 0.1, own=OTHER),
        found(BACKFILL, 0.0),
    ]
    assert decided(routes, difference(0.01)).route == "trained other"
