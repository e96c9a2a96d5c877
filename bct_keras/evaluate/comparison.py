"""Compares an old and a new encoder by their embeddings of the same images.

It takes arrays and gives a verdict.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bct_keras
from bct_keras import artefacts
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import compatibility, report_folder, summary
from bct_keras.evaluate.compatibility import TESTS
from bct_keras.evaluate.retrieval import Divided, divide
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.verdict import MARGIN, Rule, Verdict
from bct_keras.metrics.verification import Sides

PROTOCOL = "embeddings"  # what a report calls the protocol


class ArrayEncoder(Encoder):
    """Stands for an encoder by what it gave for all images; it can embed no others."""

    def __init__(self, name: str, embeddings: np.ndarray):
        super().__init__(Path(name), image_size=0, dims=embeddings.shape[1])
        self.embeddings = embeddings

    def embed(self, images: np.ndarray) -> np.ndarray:
        raise InputError(f"`{self.path}` is an array of embeddings and can embed no image")

    def content_fingerprint(self) -> str:
        """Names the array."""
        return array_fingerprint(self.embeddings)


class Arrays(Divided):
    """Measures embeddings that are given.

    The first part of each identity's rows is the gallery, and the others are queries.
    """

    def __init__(self, labels: np.ndarray, gallery_share: float):
        super().__init__()
        self.labels = labels
        self.gallery_share = gallery_share
        self.division = divide(labels, np.arange(len(labels)), gallery_share)
        if not (len(self.division.query) and len(self.division.gallery)):
            raise InputError(
                f"gallery_share={gallery_share} leaves no query or no gallery: each identity's "
                "images are divided into both, and at least one identity needs two"
            )

    def embed(self, encoder: ArrayEncoder) -> Sides:
        """Returns the queries and the gallery of what an encoder gave."""
        return self.sides_of(encoder, encoder.embeddings)

    def searched_names(self) -> list[SearchedNames]:
        """Returns what the rows of the arrays are called."""
        query = [f"row {row}" for row in self.division.query]
        gallery = [f"row {row}" for row in self.division.gallery]
        return [SearchedNames(query, gallery)]

    def made_from(self) -> dict[str, Any]:
        """Returns what decides the numbers, besides the embeddings."""
        return {
            "labels": array_fingerprint(self.labels),
            "gallery_share": self.gallery_share,
        }


@dataclass(frozen=True)
class Comparison:
    """Holds what `compare` finds.

    Attributes:
        verdict: Whether the new encoder's queries can be searched in the old gallery:
            `verdict.word` is `compatible`, `not compatible` or `undecided`, and `str(verdict)` says
            why.
        report: What report.json says.
    """

    verdict: Verdict
    report: dict[str, Any]
    protocol: Arrays

    def table(self) -> list[dict[str, Any]]:
        """Returns a row for each metric.

        Returns:
            Dicts with `metric`, its value by `old/old`, `new/old` and `new/new` (query encoder /
            gallery encoder), the `gain` of new/old over old/old with its 95 % `interval` over
            identities, and its `word`.
        """
        found = self.report["protocols"][PROTOCOL]
        rows = []
        for metric, gain in found["gain"].items():
            row: dict[str, Any] = {"metric": metric}
            row |= {test: found[test][metric] for test in TESTS}
            row |= {
                "gain": gain,
                "interval": tuple(found["interval"][metric]),
                "word": found["word"][metric],
            }
            rows.append(row)
        return rows

    def save(self, folder: str | Path) -> None:
        """Writes report.json, report.html and the plots, as the command `evaluate` does.

        Args:
            folder: The folder to make; a report that is there is replaced, and nothing else is.
        """
        out = Path(folder)
        artefacts.check_place(out, report_folder.KIND)
        with artefacts.new_folder(out, replace=True) as place:
            protocols = {PROTOCOL: self.protocol}
            made_from = self.report["made_from"]
            report_folder.write_report(self.report, protocols, made_from, place, out)


def compare(
    old: np.ndarray,
    new: np.ndarray,
    labels: np.ndarray | Sequence[Any],
    gallery_share: float = 0.5,
    *,
    decide_by: Sequence[str] = (),
    margin: float = MARGIN,
) -> Comparison:
    """Tells whether queries of a new encoder can be searched in an old one's gallery.

    Both have embedded the same images. The first part of each identity's rows is the gallery and
    the others are queries, as in the command `evaluate` with the protocol `retrieval`, which goes
    by the images' ids.

    Args:
        old: [images, dims] embeddings by the old encoder, of any norm.
        new: [images, dims] embeddings of the same images by the new one, in the old one's
            dimensions.
        labels: [images] the identity of each, as numbers or texts.
        gallery_share: How much of each identity's images is in the gallery, rounded up.
        decide_by: The metrics that have to be shown to be better, such as `top-1`; by default TAR
            at the lowest FAR that the data can measure, and top-1.
        margin: How much below the old encoder still counts as no worse.

    Returns:
        A result with `verdict`, `table()` and `save(folder)`.

    Example:
        >>> random = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(50), 4)
        >>> people = random.normal(size=(50, 8))[labels]
        >>> old = people + 0.8 * random.normal(size=(200, 8))
        >>> new = people + 0.2 * random.normal(size=(200, 8))
        >>> compare(old=old, new=new, labels=labels).verdict.word
        'compatible'
    """
    old_rows, new_rows, numbers = checked(old, new, labels)
    if not 0.0 < gallery_share < 1.0:
        raise InputError(f"gallery_share={gallery_share} has to be above 0 and below 1")
    protocol = Arrays(numbers, gallery_share)
    encoders = {"old": ArrayEncoder("old", old_rows), "new": ArrayEncoder("new", new_rows)}
    rule = Rule(tuple(decide_by), margin)
    results = {PROTOCOL: compatibility.findings(protocol, encoders["old"], encoders["new"])}
    summary.add_counts(results, {PROTOCOL: protocol})
    verdict = compatibility.judge(results, rule)
    assert verdict  # there is a cross-test
    made_from = {name: encoder.fingerprint for name, encoder in encoders.items()}
    made_from |= protocol.made_from() | report_folder.rule_facts(rule)
    report = {
        "version": bct_keras.__version__,
        "date": summary.today(),
        **report_folder.verdict_facts(verdict),
        "encoders": summary.encoder_facts(encoders),
        "protocols": results,
        "made_from": made_from,
    }
    return Comparison(verdict, report, protocol)


def checked(
    old: np.ndarray, new: np.ndarray, labels: np.ndarray | Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns old and new embeddings in float32, and the labels as numbers from 0.

    Refuses what does not fit together.
    """
    old_rows = checked_rows("old", old)
    new_rows = checked_rows("new", new)
    label_array = np.asarray(labels)
    counts = (
        f"`old` has {len(old_rows)} rows, `new` {len(new_rows)} and `labels` {label_array.shape}"
    )
    if label_array.ndim != 1 or not len(old_rows) == len(new_rows) == len(label_array):
        raise InputError(f"{counts}: one of each is needed for every image")
    if old_rows.shape[1] != new_rows.shape[1]:
        raise InputError(
            f"`new` has {new_rows.shape[1]} dimensions and `old` {old_rows.shape[1]}: queries of "
            "the one cannot be searched in a gallery of the other.",
            "Give the coordinates of `new` that are compatible, or map them into the old space by "
            "an adapter first",
        )
    identities, numbers = np.unique(label_array, return_inverse=True)
    if len(identities) < 2:
        raise InputError("`labels` has one identity alone; a search needs at least two")
    return old_rows, new_rows, numbers.ravel()


def checked_rows(name: str, given: np.ndarray) -> np.ndarray:
    """Returns embeddings [images, dims] in float32; refuses what are none."""
    found = np.asarray(given)
    if found.ndim != 2 or found.dtype.kind not in "biuf" or not found.shape[1]:
        raise InputError(
            f"`{name}` has to be numbers [images, dims], and its shape is {found.shape}"
        )
    found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise InputError(f"`{name}` has a value that is no finite number")
    return found


def array_fingerprint(array: np.ndarray) -> str:
    """Returns a sha256 of an array's type, shape and values."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
