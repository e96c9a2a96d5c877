"""What both encoders look at in each example.

An example is a query with the image it should find and the one it is taken for.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from bct_keras.data.images_by_id import ImagesById
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.explain.examples import Example
from bct_keras.explain.heat_maps import FOR_ANY, FOR_KERAS
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
    """A query and an image of the gallery, by both tests."""

    found: str  # the id of the gallery's image
    same: bool  # of the query's identity
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class Look:
    """What both encoders look at in one example."""

    kind: str
    query: str  # the id of the image
    pairs: tuple[Pair, ...]

    def facts(self) -> dict[str, Any]:
        """Returns all but the pictures."""
        pairs = []
        for pair in self.pairs:
            facts = {
                "found": pair.found,
                "same identity": pair.same,
                "cosine": {match.test: match.cosine for match in pair.matches},
            }
            pairs.append(facts)
        return {"kind": self.kind, "query": self.query, "pairs": pairs}


@dataclass
class Trust:
    """Correlations of one explanation's maps."""

    occlusion: list[float] = field(default_factory=list)
    other_match: list[float] = field(default_factory=list)

    def means(self) -> dict[str, float | None]:
        """Returns what explain.json says."""
        return {
            "occlusion": mean(self.occlusion),
            "other match": mean(self.other_match),
        }


class Looker:
    """Looks at examples by both encoders."""

    def __init__(
        self,
        protocol: Retrieval,
        subjects: dict[str, Subject],
        queries: dict[str, Embedded],
        gallery: Embedded,
    ):
        """Takes what there is to look at.

        Args:
            protocol: Says which images are queries and which are the gallery.
            subjects: The encoder of the queries of each test, old/old and new/old.
            queries: Their embeddings, by test.
            gallery: The embeddings by the old encoder, which both tests search.
        """
        self.subjects = subjects
        self.queries = queries
        self.gallery = gallery
        (names,) = protocol.searched_names()
        self.query_names = names.queries
        self.gallery_names = names.gallery
        self.images = {}
        for subject in subjects.values():
            size, resize = taken_by(subject)
            self.images[size, resize] = ImagesById(protocol.data, size, resize)

    def identity_names(self) -> dict[int, str]:
        """Returns the folder that an identity's images lie in, where their ids have one."""
        names = {}
        labels = self.queries["old/old"].labels.tolist()
        for label, name in zip(labels, self.query_names, strict=True):
            folder = PurePath(name).parent
            names[label] = folder.name or str(label)
        return names

    def look(self, example: Example) -> Look:
        """Returns what both encoders look at in an example."""
        own = self.pair(example, example.own, same=True)
        other = self.pair(example, example.other, same=False)
        return Look(
            kind=example.kind,
            query=self.query_names[example.query],
            pairs=(own, other),
        )

    def pair(self, example: Example, row: int, same: bool) -> Pair:
        """Returns the example's query with one image of the gallery.

        Args:
            example: What is looked at.
            row: The image's row in the gallery.
            same: Whether it is of the query's identity.
        """
        matches = []
        for test in self.queries:
            matches.append(self.match(test, example.query, row))
        return Pair(self.gallery_names[row], same, tuple(matches))

    def match(self, test: str, query_row: int, gallery_row: int) -> Match:
        """Returns both images of a pair, as the encoders of one test see them.

        Args:
            test: old/old or new/old.
            query_row: The query's row among the queries.
            gallery_row: The other image's row in the gallery.
        """
        query = self.queries[test].embeddings[query_row]
        found = self.gallery.embeddings[gallery_row]
        query_name = self.query_names[query_row]
        found_name = self.gallery_names[gallery_row]
        return Match(
            test=test,
            cosine=float(query @ found),
            query=self.view(self.subjects[test], query_name, found),
            found=self.view(self.subjects["old/old"], found_name, query),
        )

    def view(self, subject: Subject, name: str, reference: np.ndarray) -> View:
        """Returns an image with what in it speaks for the cosine to the reference.

        Args:
            subject: The encoder.
            name: The image's id.
            reference: The embedding of the other image of the pair.
        """
        images = self.images[taken_by(subject)]
        (image,) = images.read([name])
        heat = {}
        for explanation, explain in explanations(subject).items():
            heat[explanation] = explain(subject, image, reference)
        return View(image, heat)


def explanations(subject: Subject) -> dict[str, Explain]:
    """Returns those that the encoder allows."""
    if subject.has_gradients:
        return FOR_KERAS | FOR_ANY
    return dict(FOR_ANY)


def trust(looks: Iterable[Look]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns how far each explanation is to be trusted, by the looks at queries of each test.

    `occlusion` is its mean correlation with occlusion, which is measured on the encoder itself;
    `other match` that of the two maps of one query, of different matches: at 1 they tell of the
    image.
    """
    found: dict[str, dict[str, Trust]] = {}
    for look in looks:
        own_pair, other_pair = look.pairs
        for own, other in zip(own_pair.matches, other_pair.matches, strict=True):
            of_test = found.setdefault(own.test, {})
            maps = own.query.heat
            for name, heat in maps.items():
                entry = of_test.setdefault(name, Trust())
                of_other = other.query.heat[name]
                entry.occlusion.append(correlation(heat, maps["Occlusion"]))
                entry.other_match.append(correlation(heat, of_other))
    means: dict[str, dict[str, dict[str, float | None]]] = {}
    for test, entries in found.items():
        means[test] = {name: entry.means() for name, entry in entries.items()}
    return means


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the correlation of two maps; nan where one is the same everywhere."""
    if one.std() == 0 or other.std() == 0:
        return float("nan")
    matrix = np.corrcoef(one.ravel(), other.ravel())  # [2, 2]
    return float(matrix[0, 1])


def mean(values: list[float]) -> float | None:
    """Returns the mean of those that are numbers: an empty map has no correlation."""
    known = []
    for value in values:
        if not math.isnan(value):
            known.append(value)
    if not known:
        return None
    return float(np.mean(known))


def taken_by(subject: Subject) -> tuple[int, str]:
    """Returns the size of images that the encoder takes, and the filter that resizes them."""
    encoder = subject.encoder
    return encoder.image_size, encoder.preprocessing.resize
