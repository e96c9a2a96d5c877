"""The report: one table for the terminal, one self-contained page."""

import html
import json
from typing import Any

from bct_keras.evaluation.compatibility import TESTS

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .35rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.good { color: var(--good); } .bad { color: var(--bad); }
code { overflow-wrap: anywhere; } dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
"""


def table(result: dict[str, Any]) -> list[list[str]]:
    """Rows of text: a heading, one row a metric."""
    shown = [test for test in TESTS if test in result]
    crossed = "gain" in result
    rows = [["metric", *shown, *(["gain", "compatible"] if crossed else [])]]
    for metric in result[shown[0]]:
        row = [metric, *(f"{result[test][metric]:.4f}" for test in shown)]
        if crossed:
            row += [f"{result['gain'][metric]:+.4f}", "yes" if result["compatible"][metric] else "NO"]
        rows.append(row)
    return rows


def as_text(report: dict[str, Any]) -> str:
    lines = []
    for name, result in report["protocols"].items():
        rows = table(result)
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines.append(name)
        for first, *others in rows:
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join(["", first.ljust(widths[0]), *cells]))
    if report["verdict"]:
        shown = f"; {report['shown']}" if report.get("shown") else ""
        lines.append(f"verdict: {report['verdict']}{shown}")
    return "\n".join(lines)


def as_html(report: dict[str, Any]) -> str:
    word = report["verdict"] or "self-test"
    colour = "good" if word == "compatible" else "bad" if report["verdict"] else ""
    body = [f'<h1 class="{colour}">{html.escape(word[0].upper() + word[1:])}</h1>']
    if report["verdict"]:
        body.append(
            "<p>Compatible means that queries of the new encoder, searched in the gallery of the old one (new/old), "
            "score above the old encoder's own queries (old/old). new/new is the new encoder in a gallery of its "
            "own.</p>"
        )
    for name, result in report["protocols"].items():
        body.append(f"<h2>{html.escape(name)}</h2>{html_table(table(result))}")
    facts = "".join(
        f"<dt>{html.escape(key)}</dt><dd><code>{html.escape(value if isinstance(value, str) else json.dumps(value))}"
        "</code></dd>"
        for key, value in report["made_from"].items()
    )
    body.append(f"<h2>Made from</h2><dl>{facts}</dl>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(word)} - bct_keras</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def html_table(rows: list[list[str]]) -> str:
    heading = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in rows[0])
    lines = []
    for row in rows[1:]:
        colours = {"yes": "good", "NO": "bad"}
        cells = "".join(f'<td class="{colours.get(cell, "")}">{html.escape(cell)}</td>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{heading}</tr>{"".join(lines)}</table></div>'
