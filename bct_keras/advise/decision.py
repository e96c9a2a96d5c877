"""Decides which route to take, and says why.

1. A route is out where its encoder is not shown to be better than the old one, each in a gallery
   of its own; where its verdict is `not compatible`; and where its mean gain is not shown to be
   above 0.
2. Of the others the one with the highest mean gain leads.
3. All that it is not shown to be better than are as good as it. Of these one whose verdict is
   `compatible` is taken before one that is undecided, then the one that runs the fewest networks
   for a query, and then the one with the highest gain.
4. Without any the old encoder stays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bct_keras.advise.candidates import (
    ADAPTED,
    AS_IT_IS,
    FUSED,
    KEEP,
    MOVED,
    TRAINED,
    Route,
    name_of,
)
from bct_keras.advise.measuring import Found
from bct_keras.metrics.verdict import (
    COMPATIBLE,
    CONFIDENCE,
    MOST_IDENTITIES,
    NOT_COMPATIBLE,
    UNDECIDED,
    Gain,
    rounded_up,
)

Difference = Callable[[Found, Found], Gain]


@dataclass(frozen=True)
class Decision:
    """Holds what is to be done.

    Attributes:
        route: The name of the route to take.
        action: What to do, as the title.
        because: Why, one sentence.
        others: Of each other route, why not.
        unsure: What cannot be told, a sentence each.
    """

    route: str
    action: str
    because: str
    others: dict[str, str] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Returns action and reason."""
        return f"{self.action}: {self.because}"


def decided(found: Sequence[Found], difference: Difference) -> Decision:
    """Returns the decision.

    Args:
        found: What each route comes to, the old encoder and the whole backfill among them.
        difference: How much more the second of two routes gains.
    """
    upgrades = [each for each in found if each.route.is_upgrade]
    others = {}
    usable = []
    for each in upgrades:
        reason = out_because(each)
        if reason:
            others[each.route.name] = reason
        else:
            usable.append(each)
    if not usable:
        return kept(found, others)

    best = max(usable, key=lambda each: each.gain.value)
    tied = [each for each in usable if each is best or not shown(difference(each, best))]
    taken = min(tied, key=preferred_first)
    for each in usable:
        if each is not taken:
            others[each.route.name] = less_because(each, taken, best, tied, difference)
    return Decision(
        route=taken.route.name,
        action=action_of(taken.route),
        because=f"{gains_told(taken)} over the old encoder, in the mean {told(taken.gain)}",
        others=others,
        unsure=list(unsure_of(taken, tied, difference)),
    )


def preferred_first(found: Found) -> tuple[bool, int, float]:
    """Returns what routes that are as good as each other are sorted by."""
    return (not is_compatible(found), len(found.route.networks), -found.gain.value)


def is_compatible(found: Found) -> bool:
    """Tells whether a route is proven."""
    return found.verdict is not None and found.verdict.word == COMPATIBLE


def shown(gain: Gain) -> bool:
    """Tells whether a gain is shown to be above 0."""
    ends = gain.interval()
    return ends is not None and ends[0] > 0


def out_because(found: Found) -> str:
    """Returns why a route is no choice at all; an empty text where it is one."""
    assert found.verdict
    if not shown(found.alone):
        own = name_of(found.route.own)
        return (
            f"{own} is not shown to be better on its own than the old encoder: {told(found.alone)}"
        )
    if found.verdict.word == NOT_COMPATIBLE:
        return f"{found.verdict.word}: {found.verdict.because}"
    if not shown(found.gain):
        return f"not shown to be better than the old encoder: {told(found.gain)}"
    return ""


def kept(found: Sequence[Found], others: dict[str, str]) -> Decision:
    """Returns the decision to keep the old encoder."""
    (keep,) = [each for each in found if each.route.kind == KEEP]
    upgrades = [each for each in found if each.route.is_upgrade]
    unsure = []
    if not any(shown(each.alone) for each in upgrades):
        best = max(upgrades, key=lambda each: each.alone.value)
        because = (
            "no new encoder is shown to be better on its own, in a gallery of its own; the mean"
            f" gain of {name_of(best.route.own)} there is {told(best.alone)}"
        )
        open_gain = best.alone
        unsure += both_gain(upgrades)
    else:
        best = max(upgrades, key=lambda each: each.gain.value)
        because = (
            "no route to its gallery is shown to be better; the highest mean gain is that of"
            f" {best.route.name}, {told(best.gain)}"
        )
        open_gain = best.gain
    needed = units_told(open_gain)
    if needed:
        unsure.append(needed)
    return Decision(
        route=keep.route.name,
        action="Keep the old encoder",
        because=because,
        others=others,
        unsure=unsure,
    )


def both_gain(upgrades: Sequence[Found]) -> Iterator[str]:
    """Yields that two encoders at once would gain, where no new one does on its own."""
    fused = [each for each in upgrades if each.route.kind == FUSED and shown(each.gain)]
    if fused:
        best = max(fused, key=lambda each: each.gain.value)
        yield (
            f"Both encoders for each query would gain {told(best.gain)} by {best.route.name}: that"
            " is what a second network gives, and not a better one"
        )


def less_because(
    each: Found, taken: Found, best: Found, tied: Sequence[Found], difference: Difference
) -> str:
    """Returns why a route that would do is not the one."""
    if each not in tied:
        return f"shown to gain less than {best.route.name}: {told(difference(best, each))}"
    against = told(difference(taken, each))
    if is_compatible(taken) and not is_compatible(each):
        return (
            f"its verdict is undecided, and it is not shown to gain more than {taken.route.name},"
            f" which is compatible: {against}"
        )
    if len(each.route.networks) > len(taken.route.networks):
        return (
            f"not shown to gain more than {taken.route.name}: {against}, and runs"
            f" {len(each.route.networks)} networks for a query"
        )
    return f"not shown to be worse than {taken.route.name}, and gains less: {against}"


def unsure_of(taken: Found, tied: Sequence[Found], difference: Difference) -> Iterator[str]:
    """Yields what these identities cannot tell."""
    for each in tied:
        if each is not taken:
            yield (
                f"{taken.route.name} and {each.route.name} cannot be told apart: the latter gains"
                f" {told(difference(taken, each))} beside the former"
            )
    assert taken.verdict
    if taken.verdict.word == UNDECIDED:
        yield f"The verdict on {taken.route.name} is undecided: {taken.verdict.because}"


def action_of(route: Route) -> str:
    """Returns what to do for a route, in words."""
    own = name_of(route.own)
    if route.kind == TRAINED:
        return f"Take the trained encoder {own}"
    if route.kind == AS_IT_IS:
        return "Search with the new encoder as it is"
    if route.kind == ADAPTED:
        return "Map the queries by an adapter new -> old"
    if route.kind == MOVED:
        return "Move the gallery by an adapter old -> new"
    assert route.kind == FUSED
    if route.query_map is None:
        return f"Fuse each query of {own} with the old encoder's"
    return "Fuse each adapted query with the old encoder's"


def gains_told(found: Found) -> str:
    """Returns the gains of the metrics that decide, as text."""
    return " and ".join(f"{gain.name} {gain.value:+.4f}" for gain in found.deciding)


def told(gain: Gain) -> str:
    """Returns a gain with its interval, as text."""
    ends = gain.interval()
    if ends is None:
        return f"{gain.value:+.4f}, and the protocol gives numbers without what they rest on"
    return f"{gain.value:+.4f} (95 % interval {ends[0]:+.4f} to {ends[1]:+.4f})"


def units_told(gain: Gain) -> str:
    """Returns how many identities would show a gain above 0; nothing where none would."""
    needed = gain.units_needed(CONFIDENCE)
    if gain.value <= 0 or needed > MOST_IDENTITIES:
        return ""
    return (
        f"If that gain is what it seems, about {rounded_up(needed):,} identities would show it;"
        f" these are {gain.units:,}"
    )
