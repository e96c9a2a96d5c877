"""Finds what the upgrade gets wrong and mends, and draws what both encoders look at."""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bct_keras
from bct_keras import artefacts, progress
from bct_keras.data import records
from bct_keras.encoders import Encoder
from bct_keras.engines import Local
from bct_keras.errors import InputError
from bct_keras.evaluate.compatibility import check_dims
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.explain import page
from bct_keras.explain.embedding_map import Maps
from bct_keras.explain.examples import find_examples
from bct_keras.explain.looks import Look, Looker, trust
from bct_keras.explain.subject import Subject
from bct_keras.metrics.verification import Embedded, Sides
from bct_keras.pages import plots
from bct_keras.pages.document import Plot
from bct_keras.prepare.run import prepare
from bct_keras.printable import DATA, command_line
from bct_keras.progress import Outcome
from bct_keras.specs import quoted

KIND = "explanation"
FACTS = "explain.json"
PAGE = "explain.html"


@dataclass(frozen=True)
class Explanation:
    """What there is to tell of two encoders."""

    facts: dict[str, Any]  # what explain.json says, but for what it is made from
    looks: list[Look]
    maps: Maps


def explain(old: Encoder, new: Encoder, images: Path, out: Path) -> dict[str, Any]:
    """Returns what explain.json says; it is made anew only where what it is made from has changed.

    Args:
        old: The old encoder.
        new: The new one.
        images: A data set, or a folder with one sub-folder of images for each identity.
        out: The folder to make.
    """
    check_dims(old, new)
    subjects = {
        "old/old": Subject(old, old.dims),
        "new/old": Subject(new, old.dims),
    }
    cache = EmbeddingCache(out.parent / "embeddings")
    with data_set(images) as folder:
        protocol = Retrieval(str(folder), cache)
        made_from = {
            "old": old.fingerprint,
            "new": new.fingerprint,
            "images": protocol.data.fingerprint,
        }
        with artefacts.making(out, KIND, made_from) as place:
            if place:
                found = explained(old, new, protocol, subjects)
                paths = {
                    "--old": old.spec,
                    "--new": new.spec,
                    "--images": str(images),
                }
                facts = found.facts | {"made_from": paths | made_from}
                files = write(facts, found, place)
                artefacts.write_manifest(place, KIND, made_from, files=files)
    return artefacts.read_result(out, KIND, FACTS)


def explained(
    old: Encoder, new: Encoder, protocol: Retrieval, subjects: dict[str, Subject]
) -> Explanation:
    """Looks at the examples by both encoders.

    Args:
        old: The old encoder.
        new: The new one.
        protocol: The images, as queries and gallery.
        subjects: The encoder of the queries of each test, old/old and new/old.
    """
    of_old = protocol.embed(old)
    of_new = protocol.embed(new.compatible)
    gallery = of_old.gallery
    queries = {
        "old/old": of_old.query,
        "new/old": of_new.query,
    }
    examples = find_examples(of_old.query, of_new.query, gallery)
    looker = Looker(protocol, subjects, queries, gallery)
    looks = []
    wanted = []
    for example in progress.track(examples.chosen, "explaining", unit="queries"):
        look = looker.look(example)
        looks.append(look)
        wanted += example.identities(of_old.query, gallery)
    names = looker.identity_names()
    maps = Maps(joined(of_old), joined(of_new), wanted, names)
    encoders = {}
    for test, subject in subjects.items():
        name, _, _ = test.partition("/")
        encoders[name] = subject.facts()
    facts = {
        "version": bct_keras.__version__,
        "shares": examples.shares,
        "examples": [look.facts() for look in looks],
        "trust": trust(looks),
        "nearness": maps.nearness(),
        "encoders": encoders,
    }
    return Explanation(facts, looks, maps)


@contextlib.contextmanager
def data_set(images: Path) -> Iterator[Path]:
    """Gives the folder of a data set: the one given, or one made of the images for a while."""
    if artefacts.kind_of(images) == records.KIND:
        yield images
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "images"
        # One process: others are forked, which TensorFlow does not outlive.
        prepare(f"folder({quoted(str(images))})", "none", made, engine=Local(1))
        yield made


def joined(sides: Sides) -> Embedded:
    """Returns the queries and behind them the gallery."""
    embeddings = np.concatenate([side.embeddings for side in sides])
    labels = np.concatenate([side.labels for side in sides])
    return Embedded(embeddings, labels)


def write(facts: dict[str, Any], found: Explanation, folder: Path) -> dict[str, str]:
    """Writes all files.

    Args:
        facts: What explain.json says.
        found: What the page shows besides.
        folder: Where the files go.

    Returns:
        The fingerprints of those that a later run reads again.
    """
    files = artefacts.write_result(folder, FACTS, facts)
    drawings = []
    for plot in found.maps.plots():
        plots.save_png(plot.draw, folder / f"map_{plot.name}.png")
        svg = plots.as_svg(plot.draw, f"map-{plot.name}")
        drawings.append(Plot(plot.caption, svg))
    html = page.as_html(facts, found.looks, drawings)
    (folder / PAGE).write_text(html)
    return files


def as_text(found: dict[str, Any]) -> str:
    """Returns two lines on what was found, for the terminal."""
    shares = []
    for kind, share in found["shares"].items():
        shares.append(f"{share:.1%} {kind}")
    near = found["nearness"]
    same = f"{near['same image']:.3f}"
    other = f"{near['other identities']:.3f}"
    return (
        f"queries: {', '.join(shares)}\n"
        f"new and old embedding of the same image: cosine {same}, of other identities {other}"
    )


def outcome(found: dict[str, Any], new: str, old: str, images: Path, out: Path) -> Outcome:
    """Returns what is told of an explanation, and the command that measures the same upgrade.

    Args:
        found: What explain.json says.
        new: The new encoder, as a flag names it.
        old: The old one, likewise.
        images: The images that were looked at.
        out: The folder of the page.
    """
    page_file = out / PAGE
    text = f"{as_text(found)}\npage: {page_file}"
    data = str(images) if artefacts.kind_of(images) == records.KIND else DATA
    flags = {
        "new": new,
        "old": old,
        "protocol": f"retrieval({quoted(data)})",
        "out": "reports/new-old",
    }
    facts = {"page": page_file, **found}
    return Outcome(text, facts, [" ".join(command_line("evaluate", flags))])


def check_installed() -> None:
    """Refuses to begin where a package is missing that only explanations need."""
    for package in ("tf_keras_vis", "sklearn"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"explain needs {package}, which is not installed: pip install -e '.[explain]'"
            )
