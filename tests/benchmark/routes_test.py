"""Which routes there are, and that each is a row in every cell of the network it is made of."""

from pathlib import Path

import pytest

from bct_keras.benchmark.cells import Cell, Options
from bct_keras.benchmark.plan import Plan
from bct_keras.benchmark.routes import Route, parse_route
from bct_keras.errors import InputError

METHODS = ["independent", "mixbct(mix_ratio=0.4)", "weak-l2"]


@pytest.mark.parametrize(
    ("spec", "kind", "of", "adapter"),
    [
        ("adapted(independent)", "adapted", "independent", "residual"),
        ("adapted(independent, adapter=linear)", "adapted", "independent", "linear"),
        ("moved(weak-l2)", "moved", "weak-l2", "residual"),
        ("fused(mixbct(mix_ratio=0.4))", "fused", "mixbct(mix_ratio=0.4)", "none"),
        ("fused(adapted(independent, adapter=linear))", "fused", "independent", "linear"),
    ],
)
def test_a_route_says_what_it_is_made_of(spec, kind, of, adapter):
    assert parse_route("a row", spec, METHODS) == Route("a row", kind, of, adapter)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "merged(independent)",
            "route=merged(independent) is no route: give one of",
        ),
        ("moved", "route=moved is no route"),
        ("moved(l2)", "there is no method 'l2'; there are: independent, mixbct(mix_ratio=0.4)"),
        ("moved(independent, adapter=none)", "adapted and moved take adapter=KIND, of linear, "),
        ("fused(independent, adapter=linear)", "and fused takes none"),
        ("fused(adapted(independent), adapter=linear)", "the adapter is said within adapted(...)"),
    ],
)
def test_a_typo_in_a_route_is_told(spec, said):
    with pytest.raises(InputError) as raised:
        parse_route("a row", spec, METHODS)
    assert said in str(raised.value)


def test_what_is_fitted():
    moved = parse_route("a", "moved(independent)", METHODS).plan(Path("data/new"), 3)
    assert (moved.direction, moved.kind, moved.fuse, moved.pairs) == (
        "gallery",
        "residual",
        False,
        8000,
    )
    fused = parse_route("a", "fused(independent)", METHODS).plan(Path("data/new"), 3)
    assert (fused.direction, fused.kind, fused.fuse, fused.seed) == ("query", "none", True, 3)


def test_a_route_is_a_row_wherever_its_network_is():
    plan = Plan(Path(), Options(), {})
    for old in ("weak", "strong"):
        for method in ("independent", "l2"):
            cell = Cell(
                scenario="open-class",
                old=old,
                method=method,
                seed=1,
                run=Path("runs", method, old),
                old_encoder=Path(old),
            )
            plan.cells.append(cell)
    plan.needs = {"independent": "labels", "l2": "labels, old embeddings"}
    plan.add_routes([parse_route("both", "fused(adapted(l2))", ["independent", "l2"])])
    rows = [(cell.old, cell.run) for cell in plan.cells if cell.method == "both"]
    assert rows == [("weak", Path("runs/l2/weak")), ("strong", Path("runs/l2/strong"))]
    assert plan.needs["both"] == (
        "labels, old embeddings, pairs of embeddings, the old encoder for each query"
    )
