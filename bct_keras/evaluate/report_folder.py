"""Writes the folder of a report: report.json, report.html, each plot as a PNG, a manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from bct_keras import artefacts
from bct_keras.evaluate import page
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.verdict import Rule, Verdict
from bct_keras.pages import plots
from bct_keras.pages.document import Plot

KIND = "report"
REPORT = "report.json"


def write_report(
    found: dict[str, Any],
    protocols: Mapping[str, Protocol],
    made_from: dict[str, Any],
    folder: Path,
    place: Path,
) -> None:
    """Writes all files of a report.

    Args:
        found: What report.json says.
        protocols: The protocols of the report, which have the images of its examples.
        made_from: What the numbers are made from, for the manifest.
        folder: An empty folder.
        place: Where it will be, when all of it is there.
    """
    files = artefacts.write_result(folder, REPORT, found)
    drawings, pictures = {}, {}
    for number, (spec, result) in enumerate(found["protocols"].items(), 1):
        drawings[spec] = draw(result, folder, number)
        pictures[spec] = faces(protocols[spec], result)
    (folder / "report.html").write_text(page.as_html(found, drawings, pictures, str(place)))
    artefacts.write_manifest(folder, KIND, made_from, files=files)


def draw(result: dict[str, Any], folder: Path, number: int) -> list[Plot]:
    """Draws the plots of one protocol for the page; writes each as a PNG too."""
    found = []
    for drawing in plots.plots_of(result):
        png = folder / f"{number}_{drawing.name}.png"
        plots.save_png(drawing.draw, png)
        name = f"plot{number}-{drawing.name}"
        found.append(plots.as_plot(drawing, name))
    return found


def faces(protocol: Protocol, result: dict[str, Any]) -> dict[str, Image.Image]:
    """Returns the images of the examples of flips."""
    flips = result.get("flips", {})
    names = set()
    for example in flips.get("examples", []):
        names.add(example["query"])
        names.add(example["found"])
    if not names:
        return {}
    return protocol.pictures(names)


def verdict_facts(verdict: Verdict | None) -> dict[str, Any]:
    """Returns what report.json says of a verdict."""
    if verdict is None:
        return {"verdict": None}
    found: dict[str, Any] = {"verdict": verdict.word, "because": verdict.because}
    if verdict.units_needed:
        found["identities_needed"] = verdict.units_needed
    if verdict.looks_worse:
        found["looks_worse"] = True
    return found


def rule_facts(rule: Rule) -> dict[str, str]:
    """Returns what report.json and the manifest say of what a verdict goes by."""
    return {
        "--decide_by": ",".join(rule.decide_by),
        "--margin": str(rule.margin),
    }
