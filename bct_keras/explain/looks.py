"""What both encoders look at in each example: a query with the image it should find and the one
it is taken for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from bct_keras.data.images_by_id import ImagesById
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.explain import FOR_ANY, FOR_KERAS
from bct_keras.explain.examples import Example
from bct_keras.explain.subject import Subject
from bct_keras.metrics.verification import Embedded

# (subject, image [size, size, 3] uint8, reference [dims]) -> heat [size, size], 0 to 1
Explain = Callable[[Subject, np.ndarray, np.ndarray], np.ndarray]


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
        """Returns all but the pictures."""
        pairs = [
            {
                "found": pair.found,
                "same identity": pair.same,
                "cosine": {match.test: match.cosine for match in pair.matches},
            }
            for pair in self.pairs
        ]
        return {"kind": self.kind, "query": self.query, "pairs": pairs}


@dataclass
class Trust:
    """Correlations of one explanation's maps."""

    occlusion: list[float] = field(default_factory=list)
    other_match: list[float] = field(default_factory=list)

    def means(self) -> dict[str, float | None]:
        """Returns what explain.json says."""
        return {"occlusion": mean(self.occlusion), "other match": mean(self.other_match)}


class Looker:
    """`queries` are those of each test; the gallery is the old encoder's in both, and so is each
    look at its images.
    """

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
        """Returns the folder that an identity's images lie in, where their ids have one."""
        names = {}
        labels = self.queries["old/old"].labels.tolist()
        for label, name in zip(labels, self.query_names, strict=True):
            names[label] = PurePath(name).parent.name or str(label)
        return names

    def look(self, example: Example) -> Look:
        """Returns what both encoders look at in an example."""
        own = self.pair(example, example.own, same=True)
        other = self.pair(example, example.other, same=False)
        return Look(example.kind, self.query_names[example.query], (own, other))

    def pair(self, example: Example, row: int, same: bool) -> Pair:
        """Returns the query with the image in this row of the gallery."""
        matches = tuple(self.match(test, example.query, row) for test in self.queries)
        return Pair(self.gallery_names[row], same, matches)

    def match(self, test: str, query_row: int, gallery_row: int) -> Match:
        """Returns both images of a pair, as the encoders of one test see them."""
        query = self.queries[test].embeddings[query_row]
        found = self.gallery.embeddings[gallery_row]
        return Match(
            test=test,
            cosine=float(query @ found),
            query=self.view(self.subjects[test], self.query_names[query_row], found),
            found=self.view(self.subjects["old/old"], self.gallery_names[gallery_row], query),
        )

    def view(self, subject: Subject, name: str, reference: np.ndarray) -> View:
        """Returns an image with what in it speaks for the cosine to the reference."""
        (image,) = self.images[taken_by(subject)].read([name])
        heat = {}
        for explanation, explain in explanations(subject).items():
            heat[explanation] = explain(subject, image, reference)
        return View(image, heat)


def explanations(subject: Subject) -> dict[str, Explain]:
    """Returns those that the encoder allows."""
    return (FOR_KERAS if subject.has_gradients else {}) | FOR_ANY


def trust(looks: Iterable[Look]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns how far each explanation is to be trusted, by the looks at queries of each test.

    `occlusion` is its mean correlation with occlusion, which is measured on the encoder itself;
    `other match` that of the two maps of one query, of different matches: at 1 they tell of the
    image.
    """
    found: dict[str, dict[str, Trust]] = {}
    for look in looks:
        for own, other in zip(*(pair.matches for pair in look.pairs), strict=True):
            of_test = found.setdefault(own.test, {})
            for name, heat in own.query.heat.items():
                entry = of_test.setdefault(name, Trust())
                entry.occlusion.append(correlation(heat, own.query.heat["Occlusion"]))
                entry.other_match.append(correlation(heat, other.query.heat[name]))
    means: dict[str, dict[str, dict[str, float | None]]] = {}
    for test, entries in found.items():
        means[test] = {name: entry.means() for name, entry in entries.items()}
    return means


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the correlation of two maps; nan where one is the same everywhere."""
    if one.std() == 0 or other.std() == 0:
        return float("nan")
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def mean(values: list[float]) -> float | None:
    """Returns the mean of those that are numbers: an empty map has no correlation."""
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else None


def taken_by(subject: Subject) -> tuple[int, str]:
    """Returns the size of images that the encoder takes, and the filter that resizes them."""
    return subject.encoder.image_size, subject.encoder.preprocessing.resize
