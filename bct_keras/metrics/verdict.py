"""Gives the verdict on a new encoder, whose queries are searched in an old gallery.

It says whether they do better there than the old encoder's own queries.

Every metric gets its gain, a 95 % interval of it over identities, and one word:

- better: all of the interval lies above 0
- no worse: all of it lies above minus the margin
- worse: all of it lies below 0
- open: none of these; more identities would tell

Of a protocol that gives numbers alone, without what they rest on, a loss beyond the margin counts
as it stands, and nothing is shown to be better.

The verdict is `compatible` where the metrics to decide by are better and no metric is shown to be
worse, `not compatible` where one is shown to be worse, and else `undecided`. Of many metrics one
looks worse by chance: so "shown to be worse" asks for an interval that is wider, by how many
metrics there are (Bonferroni's correction).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from bct_keras.errors import InputError, option

BETTER, NO_WORSE, WORSE, OPEN = "better", "no worse", "worse", "open"
COMPATIBLE, NOT_COMPATIBLE, UNDECIDED = "compatible", "not compatible", "undecided"
CONFIDENCE = 0.95
MARGIN = 0.01
POWER = 0.8  # with as many identities as the verdict names, it would be decided so often
MOST_IDENTITIES = 1_000_000
TAR, TOP_1, ACCURACY = "TAR@FAR=", "top-1", "accuracy"


@dataclass(frozen=True)
class Rule:
    """Holds what a verdict goes by."""

    decide_by: tuple[str, ...] = ()  # metrics; without any, those of `default_metrics`
    margin: float = MARGIN  # how much less still counts as no worse


@dataclass(frozen=True)
class Gain:
    """Holds what a metric is for the old encoder's queries and for new queries in its gallery."""

    name: str  # of the metric, with its protocol
    old: float
    cross: float
    error: float | None  # standard error of the gain; None where the protocol gives numbers alone
    units: int  # how many identities it rests on
    # Whether enough impostors are accepted at its rate for a verdict to go by it
    resolved: bool = True

    @property
    def value(self) -> float:
        """Returns how much higher the metric is."""
        return self.cross - self.old

    @property
    def at_ceiling(self) -> bool:
        """Tells whether neither encoder is ever wrong, so that none can be better."""
        return self.old == self.cross == 1.0

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Returns both ends of the interval; None where there is no error to tell it by."""
        if self.error is None:
            return None
        quantile = t_quantile(0.5 + confidence / 2, self.units - 1)
        reach = quantile * self.error
        return self.value - reach, self.value + reach

    def word(self, margin: float) -> str:
        """Returns the word that the interval comes to."""
        ends = self.interval()
        if ends is None:  # a loss counts as it stands, and nothing is shown to be better
            return WORSE if self.value < -margin else OPEN
        if ends[1] < 0:
            return WORSE
        if ends[0] > 0:
            return BETTER
        return NO_WORSE if ends[0] > -margin or self.at_ceiling else OPEN

    def units_needed(self, confidence: float) -> float:
        """Returns how many identities it takes until the interval leaves 0 out.

        The gain is taken to stay what it is.
        """
        if self.error is None or self.value == 0:
            return float("inf")
        quantile = NormalDist().inv_cdf
        errors = quantile(0.5 + confidence / 2) + quantile(POWER)
        return self.units * (errors * self.error / self.value) ** 2


@dataclass(frozen=True)
class Verdict:
    """Holds what the gains come to."""

    word: str  # compatible, not compatible or undecided
    because: str  # one sentence
    units_needed: int | None = None  # with `undecided`: about how many identities would decide it
    looks_worse: bool = False  # with `undecided`: whether what decides is lower, beyond the margin

    @property
    def sentence(self) -> str:
        """Returns the word with its reason."""
        return sentence_of(self.word, self.because, self.looks_worse)

    def __str__(self) -> str:
        return self.sentence


def sentence_of(word: str, because: str, looks_worse: bool = False) -> str:
    """Returns a verdict's word with its reason.

    Example:
        >>> sentence_of("undecided", "top-1 (+0.0400) is not shown to be better")
        'undecided: top-1 (+0.0400) is not shown to be better'
        >>> sentence_of("undecided", "top-1 (-0.0400) is not better", looks_worse=True)
        'undecided, and it looks worse so far: top-1 (-0.0400) is not better'
    """
    so_far = ", and it looks worse so far" if looks_worse else ""
    return f"{word}{so_far}: {because}"


def worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Returns the verdict on all of a series: that of its worst upgrade."""
    for word in (NOT_COMPATIBLE, UNDECIDED, COMPATIBLE):
        for verdict in verdicts:
            if verdict.word == word:
                return verdict
    return None


def t_quantile(share: float, freedom: int) -> float:
    """Returns Student's t at a share of its distribution.

    Cornish and Fisher's expansion gives it, to 4e-3 from 5 degrees of freedom on.
    """
    z = NormalDist().inv_cdf(share)
    nu = max(freedom, 1)
    return (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    )


def decide(gains: Mapping[str, Sequence[Gain]], rule: Rule) -> Verdict | None:
    """Returns the verdict on the gains of each protocol; None where there was no cross-test."""
    everything = [gain for found in gains.values() for gain in found]
    if not everything:
        return None
    strict = 1.0 - (1.0 - CONFIDENCE) / len(everything)
    worse = []
    for gain in everything:
        ends = gain.interval(strict)
        if (ends and ends[1] < 0) or (ends is None and gain.word(rule.margin) == WORSE):
            worse.append(gain)
    if worse:
        return Verdict(
            NOT_COMPATIBLE, f"{listed(worse)} shown to be worse than the old encoder's own"
        )
    deciders = [gain for found in gains.values() for gain in chosen(found, rule)]
    lacking = [
        gain for gain in deciders if gain.word(rule.margin) != BETTER and not gain.at_ceiling
    ]
    if not lacking:
        because = (
            f"{listed(deciders)} better, and none of {len(everything)} metrics is shown to be worse"
        )
        return Verdict(COMPATIBLE, because)
    looks_worse = any(gain.value < -rule.margin for gain in lacking)
    because = f"{listed(lacking)} not shown to be better"
    if any(gain.error is None for gain in lacking):
        because = f"{because}: the protocol gives numbers without what they rest on"
        return Verdict(UNDECIDED, because, looks_worse=looks_worse)
    confidences = [CONFIDENCE if gain.value > 0 else strict for gain in lacking]
    needed = max(
        gain.units_needed(confidence) for gain, confidence in zip(lacking, confidences, strict=True)
    )
    if needed > MOST_IDENTITIES:
        because = f"{because}, and no number of identities would tell"
        return Verdict(UNDECIDED, because, looks_worse=looks_worse)
    told = f"about {rounded_up(needed):,} identities would tell"
    return Verdict(UNDECIDED, f"{because}; {told}", rounded_up(needed), looks_worse)


def chosen(gains: Sequence[Gain], rule: Rule) -> list[Gain]:
    """Returns the gains to decide by, of one protocol."""
    by_metric = {metric_of(gain.name): gain for gain in gains}
    names = rule.decide_by
    if not names:
        resolved = [name for name, gain in by_metric.items() if gain.resolved]
        names = default_metrics(resolved)
    return [by_metric[name] for name in names if name in by_metric]


def default_metrics(names: Sequence[str]) -> list[str]:
    """Returns the metrics to decide by where the user names none.

    They are TAR at the lowest FAR that could be measured, and top-1; of pairs of images, which
    have no top-1, the accuracy takes its place.
    """
    rates = sorted(
        (name for name in names if name.startswith(TAR)),
        key=lambda name: float(name.removeprefix(TAR)),
    )
    found = rates[:1] + [name for name in (TOP_1, ACCURACY) if name in names]
    return found or list(names)


def check_rule(rule: Rule, measured: Sequence[str]) -> None:
    """Refuses a metric to decide by that no protocol has measured."""
    for name in rule.decide_by:
        if name not in measured:
            known = ", ".join(dict.fromkeys(measured))
            raise InputError(f"{option('decide_by', name)} is not measured; known: {known}")


def metric_of(name: str) -> str:
    """Returns the metric of a gain's name."""
    return name.split(" of ")[0]


def listed(gains: Sequence[Gain]) -> str:
    """Returns gains as a text with its verb."""
    names = []
    for gain in gains:
        names.append(f"{gain.name} ({gain.value:+.4f})")
    verb = "is" if len(names) == 1 else "are"
    return f"{', '.join(names)} {verb}"


def rounded_up(count: float) -> int:
    """Returns the count in two figures: it is an estimate."""
    figures = len(str(int(count)))
    size = 10 ** max(figures - 2, 0)
    steps = -(-count // size)  # rounded up
    return int(steps * size)


def gains_of(result: Mapping[str, Any], protocol: str = "") -> Iterator[Gain]:
    """Reads the gains of one protocol back out of its part of a report."""
    if "gain" not in result:
        return
    for metric in result["gain"]:
        name = f"{metric} of {protocol}" if protocol else metric
        error = result.get("error", {}).get(metric)
        units = result.get("units", {}).get("count", 0)
        resolved = metric not in result.get("unresolved", ())
        yield Gain(
            name=name,
            old=result["old/old"][metric],
            cross=result["new/old"][metric],
            error=error,
            units=units,
            resolved=resolved,
        )
