"""MODEL_CARD.md: what an exported encoder is, what it was measured to do, and what it must not be used for."""

from typing import Any

from bct_keras import artefacts
from bct_keras.encoders import RUN_KIND, Encoder
from bct_keras.errors import option
from bct_keras.evaluation.gate import OLD
from bct_keras.formats.format import Source
from bct_keras.printable import code, markdown, table_row
from bct_keras.untrusted.reading import read_text

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
"""


def written(
    source: Source,
    old: Encoder | None,
    verdict: str | None,
    files: dict[str, Any],
    refused: dict[str, str],
    results: dict[str, Any],
    data_licence: str,
) -> str:
    """Returns the card of the files that leave; those that were refused are named with the reason."""
    facts = source.facts()
    title = facts["encoder"] + (f" - {verdict}" if verdict else "")
    lines = [f"# {markdown(title)}", ""]
    lines += table(
        ["", ""],
        [
            ["fingerprint", code(facts["fingerprint"])],
            [
                "searches the gallery of",
                f"{code(old.fingerprint)} ({markdown(old.path)})"
                if old
                else "its own alone: no old encoder",
            ],
            ["embedding", f"{source.encoder.dims} dimensions, of length 1"],
            ["of them compatible", str(facts["dims"])],
            [
                "input",
                f"{facts['input']['size']} x {facts['input']['size']} RGB pixels of 0 to 255",
            ],
            ["mirrored image added", "yes" if source.flip else "no"],
        ],
    )
    lines += [
        "",
        "## Data",
        "",
        *data_lines(source),
        f"- licence: {markdown(data_licence) if data_licence else not_stated()}",
    ]
    lines += ["", "## Files", "", *file_lines(files)]
    if refused:
        lines += ["", "Not written:", "", *(f"- {markdown(reason)}" for reason in refused.values())]
    for spec, tests in results.items():
        lines += ["", f"## {markdown(spec)}", "", *result_lines(tests)]
    if not results:
        lines += ["", f"It was not evaluated: export was given no {option('protocol')}."]
    return "\n".join([*lines, "", USE])


def not_stated() -> str:
    return (
        f"**not stated** ({option('data_licence')}); ask whoever gave you the data before you ship"
    )


def data_lines(source: Source) -> list[str]:
    """The run's own flags and recipe, where the encoder is a run's."""
    run = source.encoder.path.parent
    lines = []
    if artefacts.kind_of(run) == RUN_KIND:
        recipe = artefacts.read_manifest(run, RUN_KIND)["made_from"]
        given = read_text(run / "flags.txt").splitlines() if (run / "flags.txt").is_file() else []
        for text in given:
            if text.startswith(OF_DATA) and not text.endswith("="):
                lines.append(f"- trained on: {code(text)}")
        for key, value in sorted(recipe.items()):
            if value is not None:
                lines.append(f"- {markdown(key)}: {code(value)}")
    else:
        lines.append("- trained on: not known, the encoder is a file without its run")
    if source.calibration:
        lines.append(
            f"- calibrated on: {markdown(source.calibration.folder)} ({code(source.calibration.fingerprint)})"
        )
    return lines


def file_lines(files: dict[str, Any]) -> list[str]:
    rows = []
    for name, facts in files.items():
        worst = f"{max(facts['losses'].values()):+.2%}" if facts["losses"] else "not measured"
        verdict = "passed" + "".join(f"; {markdown(doubt)}" for doubt in facts["doubts"])
        if facts["faults"]:
            verdict = f"**let out in spite of: {markdown('; '.join([*facts['faults'], *facts['doubts']]))}**"
        size = f"{facts['bytes'] / 1e6:.2f} MB"
        rows.append(
            [
                markdown(name),
                markdown(facts["file"]),
                size,
                f"{facts['difference']:.1e}",
                f"{facts['cosine']:.6f}",
                worst,
                verdict,
            ]
        )
    heading = [
        "format",
        "file",
        "size",
        "largest difference",
        "smallest cosine",
        "largest loss",
        "gate",
    ]
    note = "Differences are those from the Keras encoder on random images; the loss is in the metrics below."
    return [*table(heading, rows), "", note]


def result_lines(tests: dict[str, dict[str, float]]) -> list[str]:
    """One table a metric: queries of the row in the gallery of the column."""
    queries = list(dict.fromkeys(test.split("/")[0] for test in tests))
    galleries = list(dict.fromkeys(test.split("/")[1] for test in tests))
    lines = [
        "Queries of the row, searched in the gallery of the column; each file in its own run time.",
        "",
    ]
    for metric in next(iter(tests.values())):
        rows = [
            [
                markdown(query),
                *(
                    f"{tests[test][metric]:.4f}" if (test := f"{query}/{gallery}") in tests else ""
                    for gallery in galleries
                ),
            ]
            for query in queries
        ]
        lines += [*table([markdown(metric), *map(markdown, galleries)], rows), ""]
    if OLD in queries:
        lines.append(
            "The verdict is on the column *old*: it compares each row with the first one, the old encoder's own."
        )
    return lines


def table(heading: list[str], rows: list[list[str]]) -> list[str]:
    return [table_row(row) for row in [heading, ["---"] * len(heading), *rows]]
