"""The self-tests, the cross-test, and what follows from them."""

from typing import Any

from bct_keras.encoders import Encoder, FirstDims
from bct_keras.errors import InputError
from bct_keras.evaluation.measured import as_measured

TESTS = ("old/old", "new/old", "new/new")  # query encoder / gallery encoder


def tests(protocol: Any, old: Encoder | None, new: Encoder | None) -> dict[str, Any]:
    """The metrics of each test that the given encoders allow; `compatible` and `gain` where both are given."""
    if old and new and old.dims != new.compatible_dims:
        raise InputError(
            f"{new.path} has {new.compatible_dims} compatible dimensions and {old.path} {old.dims}: its queries "
            "cannot be searched there"
        )
    embedded = {name: protocol.embed(encoder) for name, encoder in (("old", old), ("new", new)) if encoder}
    queries = {(name, name): query for name, (query, _) in embedded.items()}
    if old and new:
        # A wider encoder's own gallery may hold all of its coordinates; the old one is searched with the first.
        wider = new.dims > old.dims
        queries["new", "old"] = protocol.embed(FirstDims(new, old.dims))[0] if wider else queries["new", "new"]
    result: dict[str, Any] = {}
    for test in TESTS:
        query, gallery = test.split("/")
        if (query, gallery) in queries:
            result[test] = as_measured(protocol.measure(queries[query, gallery], embedded[gallery][1])).metrics
    if "new/old" in result:
        baseline, cross = result["old/old"], result["new/old"]
        result["gain"] = {metric: cross[metric] - baseline[metric] for metric in baseline}
        # Compatible: M(new, old) > M(old, old)
        result["compatible"] = {metric: gain > 0 for metric, gain in result["gain"].items()}
    return result


def verdict(protocols: dict[str, dict[str, Any]]) -> str | None:
    """One word for all metrics of all protocols; none where there was no cross-test."""
    found = [each for result in protocols.values() for each in result.get("compatible", {}).values()]
    if not found:
        return None
    if all(found):
        return "compatible"
    return f"not compatible ({found.count(False)} of {len(found)} metrics are not above old/old)"
