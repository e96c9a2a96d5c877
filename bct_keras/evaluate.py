"""Measures whether queries of a new encoder can be searched in an old one's gallery, and how well.

python -m bct_keras.evaluate --new=runs/mixbct --old=runs/old --protocol='retrieval(data/demo/test)' --out=reports/x

With --old or --new alone it is the self-test of that one. Protocols: retrieval(DATA), where the images of each
identity of a data set are divided into gallery and query; pairs(FILE.bin), InsightFace's lfw.bin, cfp_fp.bin,
agedb_30.bin and their like, in ten folds; lfw(pairs.txt, images=DIR), the same from LFW's list and a folder of aligned
images, DIR/Name/Name_0001.jpg. Writes report.json and report.html to --out.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags
from PIL import Image

import bct_keras
from bct_keras import artefacts, command, registry
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluation import PROTOCOLS, compatibility, gains, page, plots, report
from bct_keras.evaluation.embedding_cache import EmbeddingCache

KIND = "report"


def evaluate(
    old: Encoder | None,
    new: Encoder | None,
    protocol_specs: list[str],
    out: Path,
    independent: Encoder | None = None,
    on_bad: str = "fail",
) -> dict[str, Any]:
    """The report, made anew only where something it is made from has changed."""
    encoders = {"old": old, "new": new, "independent": independent}
    encoders = {name: encoder for name, encoder in encoders.items() if encoder}
    protocols = build_protocols(protocol_specs, out, on_bad)
    made_from = {name: encoder.fingerprint for name, encoder in encoders.items()}
    made_from |= {spec: protocol.made_from() for spec, protocol in protocols.items()}
    if artefacts.is_current(out, KIND, made_from):
        return json.loads((out / "report.json").read_text())
    results = {spec: compatibility.findings(protocol, old, new, independent) for spec, protocol in protocols.items()}
    found = {
        "version": bct_keras.__version__,
        "verdict": compatibility.verdict(results),
        "shown": gains.sentence(list(results.values())),
        "protocols": results,
        "made_from": {f"{name} encoder": str(encoder.path) for name, encoder in encoders.items()}
        | {"on_bad": on_bad}
        | made_from,
    }
    write(found, protocols, made_from, out)
    return found


def build_protocols(specs: list[str], out: Path, on_bad: str) -> dict[str, Any]:
    cache = EmbeddingCache(out.parent / "embeddings")
    return {spec: registry.build(PROTOCOLS, spec, cache=cache, on_bad=on_bad) for spec in specs}


def write(found: dict[str, Any], protocols: dict[str, Any], made_from: dict[str, Any], out: Path) -> None:
    with artefacts.new_folder(out) as folder:
        (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
        drawings = {
            spec: draw(result, folder, number) for number, (spec, result) in enumerate(found["protocols"].items())
        }
        pictures = {spec: faces(protocols[spec], result) for spec, result in found["protocols"].items()}
        (folder / "report.html").write_text(page.as_html(found, drawings, pictures))
        artefacts.write_manifest(folder, KIND, made_from)


def draw(result: dict[str, Any], folder: Path, number: int) -> list[tuple[str, str]]:
    """Captions and SVGs of a protocol's plots; each also as a PNG."""
    found = []
    for name, caption, drawing in plots.plots_of(result):
        plots.save_png(drawing, folder / f"{number + 1}_{name}.png")
        found.append((caption, plots.as_svg(drawing, f"plot{number + 1}-{name}")))
    return found


def faces(protocol: Any, result: dict[str, Any]) -> dict[str, Image.Image]:
    """The images of the examples of flips."""
    examples = result.get("flips", {}).get("examples", [])
    return protocol.pictures({each[key] for each in examples for key in ("query", "found")}) if examples else {}


def define_flags() -> None:
    flags.DEFINE_string("new", None, "the new encoder: a run's folder, a .keras file, a SavedModel or a .tflite file")
    flags.DEFINE_string("old", None, "the old encoder, likewise")
    flags.DEFINE_string(
        "independent", None, "the new network trained without constraint: gives update gain, tax and the baselines"
    )
    flags.DEFINE_multi_string("protocol", None, "how to measure, as in retrieval(data/demo/test); may be given twice")
    flags.DEFINE_string("out", None, "the folder to make; embeddings are kept beside it, in `embeddings`")
    flags.DEFINE_enum("on_bad", "fail", ["fail", "skip"], "what to do with an image of ijbc or ijbb that is no good")


def main() -> None:
    FLAGS = flags.FLAGS
    if not (FLAGS.new or FLAGS.old):
        raise InputError("--new or --old is needed, or both; --help tells what they take")
    out = Path(command.required("out"))
    command.required("protocol")
    paths = (FLAGS.old, FLAGS.new, FLAGS.independent)
    old, new, independent = (load_encoder(path) if path else None for path in paths)
    print(report.as_text(evaluate(old, new, FLAGS.protocol, out, independent, FLAGS.on_bad)))
    print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
