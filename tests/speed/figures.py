"""Holds the figure that a speed script prints, one JSON line for each, and reads such lines."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """Says what was measured, and what it is set against."""

    what: str
    ours: float
    unit: str
    peer: str = ""  # what it is set against, in words
    ratio: float | None = None
    asked: str = ""  # of the ratio, or of ours where there is no peer


def tell(figure: Figure) -> None:
    """Prints a figure as a JSON line."""
    print(json.dumps(asdict(figure)), flush=True)


def read(line: str) -> Figure | None:
    """Returns the figure in a line; None where the line holds something else.

    Scripts that have a bar and no `Figure` write `name`, `value`, and both peer and bar in
    `against`.
    """
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    if "what" in found:
        return Figure(**found)
    if "name" not in found or "value" not in found:
        return None
    peer, _, asked = str(found.get("against", "")).partition("; ")
    return Figure(
        what=found["name"],
        ours=found["value"],
        unit=found.get("unit", ""),
        peer=peer,
        ratio=found.get("ratio"),
        asked=asked,
    )


def table(figures: list[Figure], processor: str) -> str:
    """Returns the figures as a table in Markdown."""
    lines = ["| what | ours | peer | ratio | asked | processor |", "|---|---|---|---|---|---|"]
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:g}"
        ours = f"{figure.ours:,.6g} {figure.unit}".strip()
        cells = [figure.what, ours, figure.peer, ratio, figure.asked, processor]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def processor() -> str:
    """Returns what this processor calls itself, and its widest instructions."""
    name, flags = "unknown", ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() in ("flags", "Features"):
            flags = value
    known = {"avx2": "AVX2", "avx512_vnni": "AVX-512 VNNI", "avx512_bf16": "AVX-512 BF16"}
    found = [text for flag, text in known.items() if flag in flags.split()]
    return ", ".join([name, *found])
