"""What both encoders look at in each example: a query with the image it should find and the one it is taken for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from bct_keras.data.images_by_id import ImagesById
from bct_keras.evaluation.retrieval import Retrieval
from bct_keras.evaluation.verification import Embedded
from bct_keras.explanations import FOR_ANY, FOR_KERAS
from bct_keras.explanations.examples import Example
from bct_keras.explanations.subject import Subject


@dataclass(frozen=True)
class View:
    """An image as an encoder sees it, and what in it speaks for the match."""

    image: np.ndarray  # [size, size, 3] uint8
    heat: dict[str, np.ndarray]  # [size, size] of each explanation, 0 to 1


@dataclass(frozen=True)
class Match:
    """A query and an image of the old gallery, by one of the tests old/old and new/old."""

    test: str
    cosine: float
    query: View
    found: View


@dataclass(frozen=True)
class Pair:
    found: str  # the id of the gallery's image
    same: bool  # of the query's identity
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class Look:
    kind: str
    query: str  # the id of the image
    pairs: tuple[Pair, ...]

    def facts(self) -> dict[str, Any]:
        """All but the pictures."""
        pairs = [
            {
                "found": pair.found,
                "same identity": pair.same,
                "cosine": {match.test: match.cosine for match in pair.matches},
            }
            for pair in self.pairs
        ]
        return {"kind": self.kind, "query": self.query, "pairs": pairs}


class Looker:
    """`queries` are those of each test; the gallery is the old encoder's in both, and so is each look at its images."""

    def __init__(
        self,
        protocol: Retrieval,
        subjects: dict[str, Subject],
        queries: dict[str, Embedded],
        gallery: Embedded,
    ):
        self.subjects, self.queries, self.gallery = subjects, queries, gallery
        (names,) = protocol.searched_names()
        self.query_names, self.gallery_names = names.queries, names.gallery
        taken = {taken_by(subject) for subject in subjects.values()}
        self.images = {each: ImagesById(protocol.data, *each) for each in taken}

    def identity_names(self) -> dict[int, str]:
        """The folder that an identity's images lie in, where their ids have one."""
        labels = self.queries["old/old"].labels.tolist()
        return {
            label: PurePath(name).parent.name or str(label)
            for label, name in zip(labels, self.query_names, strict=True)
        }

    def look(self, example: Example) -> Look:
        pairs = (self.pair(example, example.own, True), self.pair(example, example.other, False))
        return Look(example.kind, self.query_names[example.query], pairs)

    def pair(self, example: Example, row: int, same: bool) -> Pair:
        matches = tuple(self.match(test, example.query, row) for test in self.queries)
        return Pair(self.gallery_names[row], same, matches)

    def match(self, test: str, query_row: int, gallery_row: int) -> Match:
        query, found = (
            self.queries[test].embeddings[query_row],
            self.gallery.embeddings[gallery_row],
        )
        return Match(
            test,
            float(query @ found),
            self.view(self.subjects[test], self.query_names[query_row], found),
            self.view(self.subjects["old/old"], self.gallery_names[gallery_row], query),
        )

    def view(self, subject: Subject, name: str, reference: np.ndarray) -> View:
        (image,) = self.images[taken_by(subject)].read([name])
        return View(
            image,
            {
                name: explain(subject, image, reference)
                for name, explain in explanations(subject).items()
            },
        )


def explanations(
    subject: Subject,
) -> dict[str, Callable[[Subject, np.ndarray, np.ndarray], np.ndarray]]:
    return (FOR_KERAS if subject.has_gradients else {}) | FOR_ANY


def trust(looks: Iterable[Look]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Of each test's looks at queries, for each explanation: its mean correlation with occlusion, which is measured
    on the encoder itself, and that of the two maps of one query, of different matches: at 1 they tell of the image.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for look in looks:
        for own, other in zip(*(pair.matches for pair in look.pairs), strict=True):
            for name, heat in own.query.heat.items():
                entry = found.setdefault(own.test, {}).setdefault(
                    name, {"occlusion": [], "other match": []}
                )
                entry["occlusion"].append(correlation(heat, own.query.heat["Occlusion"]))
                entry["other match"].append(correlation(heat, other.query.heat[name]))
    return {
        test: {
            name: {key: mean(values) for key, values in entry.items()}
            for name, entry in entries.items()
        }
        for test, entries in found.items()
    }


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.std() == 0 or other.std() == 0:
        return float("nan")
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def mean(values: list[float]) -> float | None:
    """Of those that are numbers: an empty map has no correlation."""
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else None


def taken_by(subject: Subject) -> tuple[int, str]:
    """The size of the images that its encoder takes, and the filter that they are resized by."""
    return subject.encoder.image_size, subject.encoder.preprocessing.resize
