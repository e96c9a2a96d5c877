"""The ranking of a benchmark as rows of text, for the page and for the terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from bct_keras.benchmark.ranking import TPIR, groups
from bct_keras.benchmark.texts import Rows, Section, number, verdicts, with_spread
from bct_keras.metrics.verdict import TOP_1

RANKING = (
    "By the harmonic mean of update gain and kept self-test, averaged over all cells. "
    "Update gain is how much of the way from the old encoder to the same network without "
    "constraint the cross-test has gone; kept is the self-test as a share of that network's. "
    "A method that has no such score in a cell has no rank. "
    "Two methods are told apart where the 95 % interval of the difference of their scores, "
    "Student's t over the seeds, leaves 0 out."
)
BESIDE = (
    "Verdicts are those of evaluate on every training; above old tells on how many of all "
    "metrics the cross-test is above the old encoder's, shown or not. "
    f"{TPIR} is that of the cross-test. Hot refresh is the mean of the ranking's metric, or else "
    "of top-1, while the old gallery is re-embedded in random order from 0 to 100 %. Cost is the "
    "time of a training step against that of the network without constraint."
)
NEEDS = (
    "Besides a training on images of one's own. Labels: of those images. Old embeddings, or old "
    "classes: of those images by the old encoder. Pairs of embeddings: of some thousand images by "
    "both networks, once. Only where it says so does a query take the old encoder too, that is "
    "both networks, or is the gallery rewritten before the first one."
)


def sections(found: dict[str, Any]) -> Iterator[Section]:
    """Yields the ranking, what else each method comes to, and what each needs."""
    metric = found["metric"]
    ranked = found["ranking"]
    text = " ".join([not_told_apart(ranked), RANKING]).strip()
    yield Section(f"Ranking by {metric}", text, rows(ranked))
    yield Section("Verdicts, and what else was measured", BESIDE, beside(ranked, metric))
    needed = [["method", "needs"]]
    for row in ranked:
        needed.append([row["method"], row["needs"] or "-"])
    yield Section("What each needs", NEEDS, needed)


def rows(ranked: Sequence[dict[str, Any]]) -> Rows:
    """Returns the table of the ranking, best first."""
    names = "method, place, score, not told apart from, update gain, kept self-test, gain, tax"
    table: Rows = [[*names.split(", ")]]
    for place, row in enumerate(ranked, 1):
        table.append(
            [
                row["method"],
                "-" if row["unranked"] else str(place),
                with_spread(row["score"], "z.3f"),
                ranges(row["tied"]),
                number(row["update_gain"], "z.3f"),
                number(row["kept"], "z.3f"),
                number(row["gain"], "+z.4f"),
                number(row["tax"], "+z.4f"),
            ]
        )
    return table


def beside(ranked: Sequence[dict[str, Any]], metric: str) -> Rows:
    """Returns what was measured besides the ranking, in its order.

    Args:
        ranked: The methods, best first.
        metric: By which they are ranked.
    """
    table: Rows = [["method", "verdicts", "above old", TPIR, "hot refresh", "cost"]]
    for row in ranked:
        areas = row["hot_refresh"]
        table.append(
            [
                row["method"],
                verdicts(row["verdicts"]),
                format(row["above_old"], ".0%"),
                number(row["tpir"], "z.3f"),
                number(areas.get(metric, areas.get(TOP_1)), "z.3f"),
                number(row["cost"], "z.2f"),
            ]
        )
    return table


def not_told_apart(ranked: Sequence[dict[str, Any]]) -> str:
    """Returns a sentence on the places that the seeds do not tell apart; none where they do."""
    runs = []
    for first, last in groups(ranked):
        between = "and" if last == first + 1 else "to"
        runs.append(f"{first} {between} {last}")
    if not runs:
        return ""
    return f"Not told apart by the seeds: places {'; '.join(runs)}."


def ranges(places: Sequence[int]) -> str:
    """Returns places as text, those in a row as their ends; `-` for none.

    Example:
        >>> ranges([1, 2, 3, 5])
        '1-3, 5'
    """
    parts: list[list[int]] = []
    for place in places:
        if parts and place == parts[-1][1] + 1:
            parts[-1][1] = place
        else:
            parts.append([place, place])
    texts = []
    for first, last in parts:
        texts.append(str(first) if first == last else f"{first}-{last}")
    return ", ".join(texts) or "-"
