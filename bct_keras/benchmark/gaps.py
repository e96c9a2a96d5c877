"""What is missing in a benchmark's table, or not above the old encoder, as rows of text."""

from collections.abc import Iterator
from typing import Any

from bct_keras.benchmark.texts import Rows, Section, with_spread


def faults(found: dict[str, Any]) -> Iterator[Section]:
    """Yields what is not above the old encoder, why a method has no rank, and what failed."""
    rows = not_above(found["cells"])
    if rows:
        head = ["cell", "metric", "seeds not above the old encoder", "gain"]
        text = "The papers' own condition, metric by metric; shown or not."
        yield Section("Not above the old encoder", text, [head, *rows])
    rows = [["method", "why"]]
    for row in found["ranking"]:
        if row["unranked"]:
            rows.append([row["method"], row["unranked"]])
    if len(rows) > 1:
        text = "Why these methods have no score of their own."
        yield Section("Without a rank", text, rows)
    rows = [["cell", "why"]]
    for name, why in found["failed"].items():
        rows.append([name, why])
    if len(rows) > 1:
        text = "These cells are missing above; the same command tries them again."
        yield Section("Failed", text, rows)


def not_above(cells: list[dict[str, Any]]) -> Rows:
    """Returns a row for each metric of a cell that is not above the old encoder in every seed."""
    rows = []
    for row in cells:
        seeds = len(row["seeds"])
        name = f"{row['scenario']}, {row['old']}, {row['method']}"
        for metric, above in row["above_old"].items():
            if above >= seeds:
                continue
            gain = row["metrics"][metric]["gain"]
            lost = f"{seeds - above} of {seeds}"
            rows.append([name, metric, lost, with_spread(gain, "+z.4f")])
    return rows
