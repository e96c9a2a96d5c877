"""What was tried of each method before the table, as rows of text."""

from collections.abc import Iterator
from typing import Any

from bct_keras.benchmark.texts import Section, number


def tuning(found: dict[str, Any]) -> Iterator[Section]:
    """Yields the setting that was chosen of each method, and all that were tried.

    Args:
        found: What report.json says of the tuning.
    """
    text = (
        f"Each method had the same budget, {found['budget']} settings: the one that was asked for, "
        "and others drawn from the ranges that the method declares (all of them where it has no "
        f"more). They were trained on {found['identities']:,} identities of their own, the first "
        f"{found['share']:.0%} of the source, which are in no other table here, in "
        f"{found['scenario']} with seed {found['seed']} and every old encoder. "
        f"Score: {found['scored_by']}, by {found['metric']}, mean over the old encoders; of equal "
        "scores that of more gain less tax is chosen. "
    )
    rows = [["method", "tried", "of", "score as asked for", "score as chosen", "chosen"]]
    for method in found["methods"]:
        best = chosen(method)
        rows.append(
            [
                method["name"],
                str(len(method["tried"])),
                str(method["possible"]),
                number(method["tried"][0]["score"], "z.3f"),
                number(best["score"], "z.3f"),
                method["chosen"],
            ]
        )
    yield Section("Tuning", text, rows)
    rows = [["setting", "score", "gain", "tax", "chosen"]]
    for method in found["methods"]:
        for each in method["tried"]:
            rows.append(
                [
                    each["spec"],
                    number(each["score"], "z.3f"),
                    number(each["gain"], "+z.4f"),
                    number(each["tax"], "+z.4f"),
                    each["failed"] or ("yes" if each == chosen(method) else ""),
                ]
            )
    yield Section("Tuning: every setting", "Means over the old encoders.", rows)


def chosen(method: dict[str, Any]) -> dict[str, Any]:
    """Returns what the chosen setting of a method comes to."""
    (found,) = [each for each in method["tried"] if each["spec"] == method["chosen"]]
    return found
