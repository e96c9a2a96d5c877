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

import bct_keras
from bct_keras import artefacts, command, registry
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluation import PROTOCOLS, compatibility, report
from bct_keras.evaluation.embedding_cache import EmbeddingCache

KIND = "report"


def evaluate(
    old: Encoder | None, new: Encoder | None, protocol_specs: list[str], out: Path, on_bad: str = "fail"
) -> dict[str, Any]:
    """The report, made anew only where something it is made from has changed."""
    given = {"cache": EmbeddingCache(out.parent / "embeddings"), "on_bad": on_bad}
    protocols = {spec: registry.build(PROTOCOLS, spec, **given) for spec in protocol_specs}
    made_from = {name: encoder.fingerprint for name, encoder in (("old", old), ("new", new)) if encoder}
    made_from |= {spec: protocol.made_from() for spec, protocol in protocols.items()}
    if artefacts.is_current(out, KIND, made_from):
        return json.loads((out / "report.json").read_text())
    results = {spec: compatibility.tests(protocol, old, new) for spec, protocol in protocols.items()}
    found = {
        "version": bct_keras.__version__,
        "verdict": compatibility.verdict(results),
        "protocols": results,
        "made_from": {f"{name} encoder": str(encoder.path) for name, encoder in (("old", old), ("new", new)) if encoder}
        | made_from,
    }
    with artefacts.new_folder(out) as folder:
        (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
        (folder / "report.html").write_text(report.as_html(found))
        artefacts.write_manifest(folder, KIND, made_from)
    return found


def define_flags() -> None:
    flags.DEFINE_string("new", None, "the new encoder: a run's folder, a .keras file, a SavedModel or a .tflite file")
    flags.DEFINE_string("old", None, "the old encoder, likewise")
    flags.DEFINE_multi_string("protocol", None, "how to measure, as in retrieval(data/demo/test); may be given twice")
    flags.DEFINE_string("out", None, "the folder to make; embeddings are kept beside it, in `embeddings`")
    flags.DEFINE_enum("on_bad", "fail", ["fail", "skip"], "what to do with an image of ijbc or ijbb that is no good")


def main() -> None:
    FLAGS = flags.FLAGS
    if not (FLAGS.new or FLAGS.old):
        raise InputError("--new or --old is needed, or both; --help tells what they take")
    out = Path(command.required("out"))
    command.required("protocol")
    old, new = (load_encoder(path) if path else None for path in (FLAGS.old, FLAGS.new))
    print(report.as_text(evaluate(old, new, FLAGS.protocol, out, FLAGS.on_bad)))
    print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
