"""A benchmark's findings as rows of text, for the page, for Markdown and for the terminal."""

from collections.abc import Iterator
from typing import Any

from bct_keras.benchmarks.spreads import count_verdicts, counted
from bct_keras.printable import markdown as markdown_text
from bct_keras.printable import table_row

Rows = list[list[str]]
RANKING = (
    "By the harmonic mean of update gain and kept self-test, averaged over all cells. Update gain is how much of the "
    "way from the old encoder to the same network without constraint the cross-test has gone; kept is the self-test "
    "as a share of that network's. Verdicts are those of `evaluate` on every training; above old tells on how many of "
    "all metrics the cross-test is above the old encoder's, shown or not. A method that has no such score in a cell "
    "has no rank. A method is behind the first "
    "where the 95 % interval of the difference of their scores, Student's t over the seeds, lies above 0; else the "
    "order of the two is undecided."
)
CELL = (
    "Mean and spread (the standard deviation over seeds). Gain is cross-test less old encoder, tax what the self-test "
    "has lost against the network without constraint, cost the time of a step against that network's. Verdicts are "
    "those on each seed; above old counts the metrics whose cross-test is above the old encoder's, seeds added up."
)
OVERVIEWS = {
    "gain": ("Gain", "+z.4f", "Cross-test less old encoder, mean and spread over seeds."),
    "self": ("Self-test", "z.4f", "Mean and spread over seeds."),
}
DIFFERENCES = (
    "Cross-test of the row less that of the column, mean over the seeds that both have; * where the 95 % interval of "
    "that mean, Student's t, leaves 0 out. Without it the order of the two is undecided: over two or three seeds only "
    "a difference far above their spread is decided."
)


def sections(found: dict[str, Any]) -> Iterator[tuple[str, str, Rows]]:
    """Heading, text and table of each part, for the metric that was asked for."""
    metric = found["metric"]
    yield f"Ranking by {metric}", RANKING, ranking(found["ranking"])
    if len(places(found)) > 1:
        for quantity, (heading, form, text) in OVERVIEWS.items():
            yield f"{heading} by {metric}", text, overview(found, quantity, form)
    for scenario, old in places(found):
        here = [row for row in found["cells"] if (row["scenario"], row["old"]) == (scenario, old)]
        yield f"{scenario}, old encoder {old}: {metric}", CELL, cell(here, metric)
        if len(here) > 1:
            yield (
                f"{scenario}, old encoder {old}: differences",
                DIFFERENCES,
                differences(found, scenario, old),
            )
    yield from faults(found)


def places(found: dict[str, Any]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["scenario"], row["old"]) for row in found["cells"]))


def ranking(rows: list[dict[str, Any]]) -> Rows:
    names = [
        "method",
        "rank",
        "score",
        "behind the first",
        "update gain",
        "kept self-test",
        "gain",
        "tax",
    ]
    table = [[*names, "verdicts", "above old", "cost"]]
    for rank, row in enumerate(rows, 1):
        table.append(
            [
                row["method"],
                "-" if row["unranked"] else str(rank),
                with_spread(row["score"], "z.3f"),
                "-"
                if row["unranked"] or rank == 1
                else "yes"
                if row["behind_first"]
                else "undecided",
                number(row["update_gain"], "z.3f"),
                number(row["kept"], "z.3f"),
                number(row["gain"], "+z.4f"),
                number(row["tax"], "+z.4f"),
                verdicts(row["verdicts"]),
                format(row["above_old"], ".0%"),
                number(row["cost"], "z.2f"),
            ]
        )
    return table


def verdicts(found: dict[str, int]) -> str:
    """Returns how many trainings got each verdict, those that none got left out."""
    return ", ".join(f"{count} {word}" for word, count in found.items() if count)


def overview(found: dict[str, Any], quantity: str, form: str) -> Rows:
    """A row for each method, a column for each scenario and old encoder."""
    columns = places(found)
    known = {
        (row["method"], row["scenario"], row["old"]): with_spread(
            row["metrics"][found["metric"]][quantity], form
        )
        for row in found["cells"]
    }
    methods = dict.fromkeys(method for method, *_ in known)
    rows = [
        [method, *(known.get((method, *place), "-") for place in columns)] for method in methods
    ]
    return [["method", *(f"{scenario}, {old}" for scenario, old in columns)], *rows]


def cell(rows: list[dict[str, Any]], metric: str) -> Rows:
    names = [
        "method",
        "self-test",
        "cross-test",
        "gain",
        "update gain",
        "tax",
        "negative flips",
        "verdicts",
        "above old",
        "cost",
    ]
    old = rows[0]["metrics"][metric]["old"]
    table = [names, ["old encoder", with_spread(old), *["-"] * (len(names) - 2)]]
    for row in rows:
        values = row["metrics"][metric]
        table.append(
            [
                row["method"],
                with_spread(values["self"]),
                with_spread(values["cross"]),
                with_spread(values["gain"], "+z.4f"),
                with_spread(values["update_gain"], "z.2f"),
                with_spread(values["tax"], "+z.4f"),
                with_spread(row["flips"]["negative"], ".1%") if "flips" in row else "-",
                verdicts(count_verdicts(row["verdicts"])),
                "{} of {}".format(*counted(row)),
                number(row["cost"]["mean"], "z.2f"),
            ]
        )
    return table


def differences(found: dict[str, Any], scenario: str, old: str) -> Rows:
    known = {}
    for each in found["differences"]["cross"]:
        if (each["scenario"], each["old"], each["metric"]) == (scenario, old, found["metric"]):
            mark = "*" if each["decided"] else ""
            known[each["method"], each["other"]] = f"{each['mean']:+z.4f}{mark}"
            known[each["other"], each["method"]] = f"{-each['mean']:+z.4f}{mark}"
    methods = list(dict.fromkeys(name for pair in known for name in pair))
    return [["method", *methods]] + [
        [row, *(known.get((row, column), "") for column in methods)] for row in methods
    ]


def faults(found: dict[str, Any]) -> Iterator[tuple[str, str, Rows]]:
    """What is not above the old encoder, metric by metric, why a method has no rank, and what failed."""
    rows = [["cell", "metric", "seeds not above the old encoder", "gain"]]
    for row in found["cells"]:
        for metric, count in row["above_old"].items():
            if count < len(row["seeds"]):
                rows.append(
                    [
                        f"{row['scenario']}, {row['old']}, {row['method']}",
                        metric,
                        f"{len(row['seeds']) - count} of {len(row['seeds'])}",
                        with_spread(row["metrics"][metric]["gain"], "+z.4f"),
                    ]
                )
    if len(rows) > 1:
        yield (
            "Not above the old encoder",
            "The papers' own condition, metric by metric; shown or not.",
            rows,
        )
    without = [[row["method"], row["unranked"]] for row in found["ranking"] if row["unranked"]]
    if without:
        yield (
            "Without a rank",
            "Why these methods have no score of their own.",
            [["method", "why"], *without],
        )
    if found["failed"]:
        text = "These cells are missing above; the same command tries them again."
        yield (
            "Failed",
            text,
            [["cell", "why"], *([name, why] for name, why in found["failed"].items())],
        )


def with_spread(value: dict[str, Any], form: str = "z.4f") -> str:
    if value["mean"] is None:
        return "-"
    mean = format(value["mean"], form)
    return (
        mean if value["spread"] is None else f"{mean} ± {format(value['spread'], form.lstrip('+'))}"
    )


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def markdown(found: dict[str, Any]) -> str:
    lines = [f"# {markdown_text(found['title'])}", "", markdown_text(found["setting"])]
    for heading, text, rows in sections(found):
        lines += [
            "",
            f"## {markdown_text(heading)}",
            "",
            markdown_text(text),
            "",
            *markdown_table(rows),
        ]
    return "\n".join(lines) + "\n"


def markdown_table(rows: Rows) -> list[str]:
    first, *others = [[markdown_text(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(first) - 1)]
    return [table_row(row) for row in (first, rule, *others)]
