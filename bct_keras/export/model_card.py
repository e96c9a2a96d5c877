"""Writes MODEL_CARD.md: what an encoder is, does as measured, and must not be used for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.encoders import ADAPTER_KIND, RUN_KIND, Encoder
from bct_keras.errors import option
from bct_keras.export.formats.format import Source
from bct_keras.export.front_matter import front_matter, model_index
from bct_keras.export.gate import OLD
from bct_keras.printable import code, markdown, table_row
from bct_keras.untrusted.reading import read_text

TAGS = ["image-feature-extraction", "biometrics", "backward-compatible-embeddings"]
# Lines of a run's flags.txt, which say what it was trained on.
OF_DATA = ("--source=", "--split=", "--data=", "--scenario=")

USE = """\
## Intended use

Comparing images of the kind it was trained on: an image in, an embedding of length 1 out; the product of two
embeddings is their similarity. Its embeddings are compared with those of the encoders named above, at a threshold
chosen on data like those it will see (the report of `evaluate` has one for each false accept rate).

## Limits

- Embeddings of faces are biometric data. In many places making, storing or comparing them needs the person's consent or
  another legal ground, and some uses are forbidden. Find out before you use them.
- The numbers hold for the data they were measured on. Faces of another age, skin colour, sex or region, other cameras,
  light, poses, masks: expect other error rates, and not the same for every group. Measure on your own people, by group.
- A match is a similarity above a threshold, no proof of identity. Let no decision about a person rest on it alone, and
  let a human look, who can be appealed to.
- Not for mass surveillance, nor for guessing feelings, character, health, origin or orientation.
- It does not tell a photograph held before the camera from a face; an embedding can give away what a person looks
  like. Guard a gallery as you would guard the pictures.
"""  # noqa: E501 -- wrapped as the card has it


@dataclass(frozen=True)
class Card:
    """What is known of the files that leave, and why others do not."""

    source: Source
    old: Encoder | None
    verdict: str | None
    files: dict[str, Any]  # of each format that is written, what is known of it
    refused: dict[str, str]  # of each format that is not, the reason
    results: dict[str, Any]  # of each protocol the metrics of each test
    data_licence: str
    date: str = ""  # on which it was exported

    def text(self) -> str:
        """Returns the card in Markdown."""
        facts = self.source.facts()
        title = facts["encoder"]
        if self.verdict:
            title = f"{self.verdict} - {title}"
        lines = [*front_matter(self.metadata(facts)), "", f"# {markdown(title)}", ""]
        lines += table(["", ""], self.first_rows(facts))
        lines += ["", "## Data", ""]
        lines += data_lines(self.source)
        lines += [f"- licence: {self.licence()}"]
        lines += ["", "## Files", ""]
        lines += file_lines(self.files)
        if self.refused:
            lines += ["", "Not written:", ""]
            for reason in self.refused.values():
                lines.append(f"- {markdown(reason)}")
        for spec, tests in self.results.items():
            lines += ["", f"## {markdown(spec)}", ""]
            lines += result_lines(tests, two_spaces=len(facts["outputs"]) > 1)
        if not self.results:
            lines += ["", f"It was not evaluated: export was given no {option('protocol')}."]
        lines += ["", USE]
        return "\n".join(lines)

    def metadata(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Returns what stands on top for machines."""
        found: dict[str, Any] = {"library_name": "keras", "tags": TAGS}
        if self.verdict:
            found["verdict"] = self.verdict
        if self.date:
            found["date"] = self.date
        if self.results:
            found["model-index"] = model_index(facts["encoder"], self.results)
        return found

    def licence(self) -> str:
        """Returns what the card says of the licence of the data."""
        if self.data_licence:
            return markdown(self.data_licence)
        return (
            f"**not stated** ({option('data_licence')}); ask whoever gave you the data before you "
            "ship"
        )

    def first_rows(self, facts: dict[str, Any]) -> list[list[str]]:
        """Returns the rows of the table on top: what the encoder is."""
        searched = "its own alone: no old encoder"
        if self.old:
            searched = f"{code(self.old.fingerprint)} ({markdown(self.old.path)})"
        size = facts["input"]["size"]
        outputs = []
        for name, output in facts["outputs"].items():
            text = f"{output['dims']} dimensions, of length {output['length']}; for {output['for']}"
            outputs.append([name, text])
        dated = [["date", self.date]] if self.date else []
        return [
            *dated,
            ["fingerprint", code(facts["fingerprint"])],
            ["searches the gallery of", searched],
            *outputs,
            ["input", f"{size} x {size} RGB pixels of 0 to 255"],
            ["mirrored image added", "yes" if self.source.flip else "no"],
        ]


def data_lines(source: Source) -> list[str]:
    """Returns what is known of the data that the encoder was trained on."""
    run = source.encoder.path.parent
    kind = artefacts.kind_of(run)
    if kind == RUN_KIND:
        lines = lines_of_run(run)
    elif kind == ADAPTER_KIND:
        lines = lines_of_adaptation(run)
    else:
        lines = ["- trained on: not known, the encoder is a file without its run"]
    if source.calibration:
        folder = markdown(source.calibration.folder)
        fingerprint = code(source.calibration.fingerprint)
        lines.append(f"- calibrated on: {folder} ({fingerprint})")
    return lines


def lines_of_run(run: Path) -> list[str]:
    """Returns a run's own flags and recipe."""
    lines = []
    for text in flags_of_run(run):
        if text.startswith(OF_DATA) and not text.endswith("="):
            lines.append(f"- trained on: {code(text)}")
    manifest = artefacts.read_manifest(run, RUN_KIND)
    return lines + lines_of_facts(manifest["made_from"])


def lines_of_adaptation(folder: Path) -> list[str]:
    """Returns what an adapter was fitted on, and how much the new embedding counts if fused."""
    manifest = artefacts.read_manifest(folder, ADAPTER_KIND)
    facts = manifest["made_from"]
    lines = [
        "- trained on: not known here; the encoders that the adapter is between (source, target) "
        "stay as they were trained"
    ]
    if "weight" in manifest:
        lines.append(
            "- each image runs through both encoders; the weight of the new one in "
            f"`embedding_compatible`: {code(manifest['weight'])}"
        )
    return lines + lines_of_facts(facts)


def lines_of_facts(facts: dict[str, Any]) -> list[str]:
    """Returns a line for each fact of a manifest."""
    lines = []
    for key, value in sorted(facts.items()):
        if value is not None:
            lines.append(f"- {markdown(key)}: {code(value)}")
    return lines


def flags_of_run(run: Path) -> list[str]:
    """Returns the lines of a run's flags.txt, which a run of our own library has not."""
    given = run / "flags.txt"
    if not given.is_file():
        return []
    return read_text(given).splitlines()


def file_lines(files: dict[str, Any]) -> list[str]:
    """Returns a table with a row for each file."""
    heading = ["format", "file", "size"]
    heading += ["largest difference", "smallest cosine", "largest loss", "gate"]
    rows = []
    for name, facts in files.items():
        losses = facts["losses"]
        row = [
            markdown(name),
            markdown(facts["file"]),
            f"{facts['bytes'] / 1e6:.2f} MB",
            f"{facts['difference']:.1e}",
            f"{facts['cosine']:.6f}",
            f"{max(losses.values()):+.2%}" if losses else "not measured",
            said_by_gate(facts),
        ]
        rows.append(row)
    note = (
        "Differences are those from the Keras encoder on random images; the loss is in the metrics "
        "below."
    )
    return [*table(heading, rows), "", note]


def said_by_gate(facts: dict[str, Any]) -> str:
    """Returns what the gate found of a file."""
    doubts = facts["doubts"]
    if facts["faults"]:
        reasons = "; ".join([*facts["faults"], *doubts])
        return f"**let out in spite of: {markdown(reasons)}**"
    said = ["passed"]
    for doubt in doubts:
        said.append(markdown(doubt))
    return "; ".join(said)


def result_lines(tests: dict[str, dict[str, float]], two_spaces: bool) -> list[str]:
    """Returns one table for each metric: queries of the row in the gallery of the column.

    Args:
        tests: The metrics of each pair of a query's file and a gallery's.
        two_spaces: Whether the old gallery is searched by an output of its own.
    """
    queries, galleries = [], []
    for test in tests:
        query, _, gallery = test.partition("/")
        queries.append(query)
        galleries.append(gallery)
    queries, galleries = unique(queries), unique(galleries)
    lines = [
        "Queries of the row, searched in the gallery of the column; each file in its own run time.",
        "",
    ]
    if two_spaces and OLD in queries:
        lines[0] += (
            " The column *old* is searched by `embedding_compatible`, the others by `embedding`."
        )
    for metric in next(iter(tests.values())):
        rows = []
        for query in queries:
            row = [markdown(query)]
            for gallery in galleries:
                found = tests.get(f"{query}/{gallery}")
                row.append(f"{found[metric]:.4f}" if found else "")
            rows.append(row)
        heading = [markdown(metric), *map(markdown, galleries)]
        lines += [*table(heading, rows), ""]
    if OLD in queries:
        lines.append(
            "The verdict is on the column *old*: it compares each row with the first one, the old "
            "encoder's own."
        )
    return lines


def unique(names: list[str]) -> list[str]:
    """Returns each name once, in the order in which they first come."""
    found = []
    for name in names:
        if name not in found:
            found.append(name)
    return found


def table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table in Markdown."""
    rule = ["---"] * len(heading)
    lines = [table_row(heading), table_row(rule)]
    for row in rows:
        lines.append(table_row(row))
    return lines
