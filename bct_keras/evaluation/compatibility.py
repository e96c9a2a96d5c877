"""The self-tests, the cross-test, and what follows from them."""

from typing import Any

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluation.measured import as_measured

TESTS = ("old/old", "new/old", "new/new")  # query encoder / gallery encoder


def tests(protocol: Any, old: Encoder | None, new: Encoder | None) -> dict[str, Any]:
    """The metrics of each test that the given encoders allow; `compatible` and `gain` where both are given."""
    if old and new and old.dims != new.dims:
        raise InputError(
            f"{new.path} gives {new.dims} dimensions and {old.path} {old.dims}: its queries cannot be searched there"
        )
    embedded = {name: protocol.embed(encoder) for name, encoder in (("old", old), ("new", new)) if encoder}
    result: dict[str, Any] = {}
    for test in TESTS:
        query, gallery = test.split("/")
        if query in embedded and gallery in embedded:
            result[test] = as_measured(protocol.measure(embedded[query][0], embedded[gallery][1])).metrics
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
