"""Names the command that takes the best method of a benchmark on."""

from typing import Any

from bct_keras.benchmark.cells import Cell, slug
from bct_keras.benchmark.comparison import Comparison, protocol_of
from bct_keras.benchmark.plan import SCENARIOS, Plan
from bct_keras.benchmark.routes import Route
from bct_keras.printable import command_line


def after(found: dict[str, Any], comparison: Comparison, plan: Plan) -> list[str]:
    """Returns the command that makes the report, or the map, of the best row in its first cell.

    Args:
        found: What report.json says.
        comparison: What is compared.
        plan: The cells.
    """
    for row in found["ranking"]:
        if row["unranked"]:
            continue
        for cell in plan.cells:
            if cell.method == row["method"]:
                _, cut = SCENARIOS[cell.scenario]
                protocol = protocol_of(comparison, plan.data[cut].folder)
                route = plan.routes.get(cell.method)
                return [" ".join(taking_on(cell, route, protocol))]
    return []


def taking_on(cell: Cell, route: Route | None, protocol: str) -> list[str]:
    """Returns the words of `evaluate` for a run, and of `adapt` for a route that is made of one.

    Args:
        cell: The run, and the old encoder.
        route: What is made of the run, if anything.
        protocol: What the cell is measured by.
    """
    place = slug(cell.method)
    flags: dict[str, str | list[str] | bool] = {"new": str(cell.run), "old": str(cell.old_encoder)}
    if route and cell.data:
        flags |= route.plan(cell.data, cell.seed).options()
        return command_line("adapt", flags | {"out": f"adapted/{place}"})
    return command_line("evaluate", flags | {"protocol": protocol, "out": f"reports/{place}"})
