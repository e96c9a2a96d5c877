"""Makes the tables of routes, of mixed galleries and of thresholds that are carried over."""

from collections.abc import Iterator
from typing import Any

from bct_keras.evaluate.findings import NEW_NEW, NEW_OLD, OLD_OLD
from bct_keras.evaluate.routes import RANDOM, TEST_OF
from bct_keras.metrics.verdict import TOP_1, sentence_of
from bct_keras.pages.document import Table
from bct_keras.pages.mixed_plots import better_part, shown

Rows = list[list[str]]
RANKED_BY = (
    "Old and new entries stand in one list, ranked by cosine, which takes one space; by odds, how "
    "much likelier so high a cosine is for one identity than for two; or by rate, how rarely two "
    "identities have so high a cosine. A gallery ranks by cosine in one space and else by odds. "
    "Odds and rates were measured on the other half of the identities. The last column: at how "
    "many shares the list is shown to find less than the better part alone."
)
BETTER_PART = (
    "Better part alone: what the queries find in the old entries alone or in the new ones alone, "
    "whichever is more. One list should not find less."
)


def interval(ends: list[float]) -> str:
    """Returns both ends of an interval as text; `-` where there is none."""
    if not ends:
        return "-"
    low, high = ends
    return f"{low:+.4f} to {high:+.4f}"


def overviews(report: dict[str, Any]) -> Iterator[Table]:
    """Yields a table of all routes for each protocol, which a reader looks at first."""
    several = len(report["protocols"]) > 1
    for spec, result in report["protocols"].items():
        if "routes" in result:
            heading = "Routes to the old gallery"
            if several:
                heading = f"{heading}: {spec}"
            yield Table(heading, overview(report, result))


def overview(report: dict[str, Any], result: dict[str, Any]) -> Rows:
    """Returns a row for each route, by the metrics that its verdict goes by."""
    facts_of = {TEST_OF[name]: facts for name, facts in result["routes"].items()}
    metrics = list(next(iter(facts_of.values()))["decided_by"])
    words = {TEST_OF[name]: route["verdict"] or "" for name, route in report["routes"].items()}
    if "gain" in result:
        facts_of = {NEW_OLD: result} | facts_of
        words[NEW_OLD] = report["verdict"] or ""
    heading = ["queries/gallery", "verdict"]
    for metric in metrics:
        heading += [metric, "gain", "word"]
    rows = [heading]
    for test in (OLD_OLD, *facts_of, NEW_NEW):
        facts = facts_of.get(test)
        row = [test, words.get(test, "")]
        for metric in metrics:
            row.append(f"{result[test][metric]:.4f}")
            if facts:
                row += [f"{facts['gain'][metric]:+.4f}", facts["word"][metric]]
            else:
                row += ["", ""]
        rows.append(row)
    return rows


def details(result: dict[str, Any]) -> Iterator[Table]:
    """Yields a table of each route, with every metric as new/old has it."""
    for name, facts in result.get("routes", {}).items():
        test = TEST_OF[name]
        rows = [["metric", OLD_OLD, test, "gain", "95 % interval", "word", "above old"]]
        for metric, value in result[test].items():
            rows.append(
                [
                    metric,
                    f"{result[OLD_OLD][metric]:.4f}",
                    f"{value:.4f}",
                    f"{facts['gain'][metric]:+.4f}",
                    interval(facts.get("interval", {}).get(metric, [])),
                    facts["word"][metric],
                    above_old(facts["gain"][metric]),
                ]
            )
        yield Table(test, rows)


def above_old(gain: float) -> str:
    """Returns whether new queries are above the old encoder's, the papers' own condition."""
    if gain == 0.0:
        return "equal"
    return "yes" if gain > 0 else "NO"


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Returns the verdict on each route as text."""
    lines = []
    for name, route in report.get("routes", {}).items():
        if route["verdict"]:
            lines.append(f"verdict on {TEST_OF[name]}: {sentence(route)}")
    return lines


def sentence(facts: dict[str, Any]) -> str:
    """Returns the verdict that a part of report.json has, with its reason."""
    return sentence_of(facts["verdict"], facts["because"], facts.get("looks_worse", False))


def carried_over(result: dict[str, Any]) -> Rows:
    """Returns what becomes of FAR and TAR where today's thresholds stay as they are."""
    rows = [
        [
            "threshold of today",
            "queries/gallery",
            "FAR becomes",
            "TAR becomes",
            "calibrated",
            "TAR with it",
        ]
    ]
    today = result["thresholds"][OLD_OLD]
    for metric, cosine in today.items():
        rate = metric.removeprefix("TAR@")
        name = f"{cosine:.4f} ({rate})"
        for test, found in result["carried_over"].items():
            rates = found[metric]
            calibrated = result["thresholds"].get(test, {}).get(metric)
            rows.append(
                [
                    name,
                    test,
                    f"{rates['far']:.1e}",
                    f"{rates['tar']:.4f}",
                    "-" if calibrated is None else f"{calibrated:.4f}",
                    f"{result[test][metric]:.4f}",
                ]
            )
    return rows


def mixed_tables(found: dict[str, Any]) -> Iterator[Table]:
    """Yields the areas under the curves of mixed galleries, and top-1 at each tenth."""
    curves = found["curves"]
    metrics = list(curves[0]["area"]) if curves else []
    rows = [["route", "ranked by", "order", *metrics, "worse than a part alone"]]
    for curve in curves:
        areas = [f"{curve['area'][metric]:.4f}" for metric in metrics]
        below = below_part(curve["lead"])
        rows.append([curve["route"], curve["merged_by"], curve["order"], *areas, below])
    heading = "Mixed galleries: the mean over 0 to 100 % of the gallery re-embedded"
    yield Table(heading, rows, RANKED_BY)

    percents = [f"{share:.0%}" for share in found["share"]]
    rows = [["top-1 with so much re-embedded", *percents]]
    for curve in shown(curves, RANDOM):
        rows.append([curve["route"], *numbers(curve["metrics"][TOP_1])])
        rows.append([f"{curve['route']}, better part alone", *numbers(better_part(curve))])
    heading = "Mixed galleries, in random order: one list, and the better part alone"
    yield Table(heading, rows, BETTER_PART)


def below_part(leads: list[list[float]]) -> str:
    """Returns at how many shares one list is shown to be below the better part alone."""
    below = sum(high < 0 for _, high in leads)
    return f"at {below} of {len(leads)} shares"


def numbers(values: list[float]) -> list[str]:
    """Returns numbers as the cells of a row."""
    return [f"{value:.3f}" for value in values]
