"""Makes tables of the curves that a report draws, for those who draw them otherwise."""

from typing import Any

from bct_keras.pages.document import Table

OF_CURVES = (("far", "tar", "low", "high"), ("score", "genuine", "impostors"))


def of(name: str, result: dict[str, Any]) -> list[Table]:
    """Returns a table of each curve of a protocol's result.

    Args:
        name: The protocol.
        result: Its part of report.json.
    """
    tables = []
    for test, curve in result.get("curves", {}).items():
        for columns in OF_CURVES:
            values = {column: curve[column] for column in columns}
            tables.append(table(f"{name}: {test}", values))
    if "hot_refresh" in result:
        found = result["hot_refresh"]
        tables.append(table(f"{name}: hot refresh", {"share": found["share"], **found["metrics"]}))
    mixed = result.get("mixed", {})
    for curve in mixed.get("curves", []):
        what = f"{curve['route']}, by {curve['merged_by']}, {curve['order']}"
        values = {"share": mixed["share"], **curve["metrics"]}
        tables.append(table(f"{name}: mixed gallery, {what}", values))
    return tables


def table(heading: str, values: dict[str, list[float]]) -> Table:
    """Returns a table with a column for each list of values."""
    rows = [list(values)]
    for row in zip(*values.values(), strict=True):
        rows.append([f"{value:.6g}" for value in row])
    return Table(heading, rows)
