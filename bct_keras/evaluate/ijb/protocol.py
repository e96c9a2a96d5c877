"""Measures IJB-B and IJB-C, whose templates are made of several images each.

Templates are compared 1:1 over all listed pairs, and searched 1:N in two galleries. It is done as
in InsightFace's evaluation, whose default it calls N1D1F1: flip, norms kept, times the detector's
score. https://noblis.org/wp-content/uploads/2018/03/icb2018.pdf
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bct_keras import artefacts
from bct_keras.encoders import Encoder
from bct_keras.errors import BadImageError, InputError, option
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.ijb import alignment, rates, templates
from bct_keras.evaluate.ijb import files as ijb_files
from bct_keras.evaluate.ijb.files import Subjects
from bct_keras.evaluate.ijb.images import AlignedImages
from bct_keras.evaluate.ijb.rates import Listed, Lists, TemplatePairs
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.flips import SearchedNames
from bct_keras.metrics.measured import Measured, unresolved_notes
from bct_keras.metrics.verification import Embedded, Sides


@dataclass(frozen=True)
class Names:
    """Holds what the files of a set are called."""

    files: str
    galleries: tuple[str, str]


class IJB(Protocol):
    """Measures a set of templates; IJB-B and IJB-C differ in the names of their files."""

    names: Names

    def __init__(
        self,
        folder: str,
        flip: bool = True,
        normalise_first: bool = False,
        detector_score: bool = True,
        cache: EmbeddingCache | None = None,
        on_bad: str = "fail",
    ):
        self.folder = Path(folder)
        self.flip = flip
        self.normalise_first = normalise_first
        self.detector_score = detector_score
        self.cache = cache
        self.on_bad = on_bad
        meta = self.folder / "meta"
        self.images = ijb_files.read_images(meta, self.names.files)
        self.aligned = AlignedImages(
            self.folder / "loose_crop", self.images.names, self.images.landmarks
        )
        self.templates, self.template_rows = np.unique(self.images.templates, return_inverse=True)
        self.lists = self.read_lists(meta)
        self.subjects = self.number_subjects()
        self.left_out: dict[str, int] = {}
        self.check_files()

    def read_lists(self, meta: Path) -> Lists:
        """Reads what is compared, by rows of templates."""
        name = self.names.files
        listed_pairs = ijb_files.read_pairs(meta, name)
        path = meta / f"{name}_template_pair_label.txt"
        pairs = TemplatePairs(
            first=self.rows(listed_pairs.first, path),
            second=self.rows(listed_pairs.second, path),
            genuine=listed_pairs.genuine,
        )
        probes = ijb_files.read_subjects(meta / f"{name}_1N_probe_mixed.csv")
        probes = self.listed(probes)
        galleries = []
        for gallery in self.names.galleries:
            subjects = ijb_files.read_gallery(meta / f"{name}_1N_gallery_{gallery}.csv")
            galleries.append(self.listed(subjects))
        return Lists(pairs, probes, tuple(galleries))

    def rows(self, wanted: np.ndarray, path: Path) -> np.ndarray:
        """Returns the row of each template, in numbers no larger than they need be."""
        count = len(self.templates)
        largest = int(max(self.templates[-1], wanted.max()))
        row_of = np.full(largest + 1, -1, np.int32)
        row_of[self.templates] = np.arange(count)
        rows = row_of[wanted]
        if rows.min() < 0:
            place = int(np.argmax(rows < 0))
            raise InputError(
                f"{path}, entry {place + 1}: template {wanted[place]} has no image in "
                f"{self.names.files}_face_tid_mid.txt"
            )
        return rows.astype(np.min_scalar_type(count))

    def listed(self, subjects: Subjects) -> Listed:
        """Returns the rows of listed templates, with their subjects."""
        rows = self.rows(subjects.templates, subjects.path)
        return Listed(rows.astype(np.int64), subjects.subjects)

    def number_subjects(self) -> np.ndarray:
        """Returns the subject of each template [templates], numbered from 0.

        A template that no list names is a subject of its own.
        """
        subjects = -1 - np.arange(len(self.templates))
        for listed in (self.lists.probes, *self.lists.galleries):
            subjects[listed.rows] = listed.subjects
        return np.unique(subjects, return_inverse=True)[1]

    def check_files(self) -> None:
        """Refuses a set of which images are missing, unless they may be left out."""
        missing = self.aligned.missing()
        if missing and self.on_bad == "fail":
            raise BadImageError(
                f"{self.aligned.folder / missing[0]}: no such image, and {len(missing) - 1} more "
                f"are missing; {option('on_bad', 'skip')} leaves them out of their templates"
            )

    def embed(self, encoder: Encoder) -> Sides:
        """Returns all templates as both sides: one is a query here and in the gallery there."""
        if not encoder.image_size:
            raise InputError(
                f"{encoder.path} holds stored embeddings; {self.names.files} needs one that embeds "
                "images"
            )

        def make(encoder: Encoder) -> np.ndarray:
            return self.aligned.embed(encoder, self.flip, self.on_bad)

        what = {"images": self.aligned.fingerprint(), "flip": self.flip, "on_bad": self.on_bad}
        features = self.embed_once(encoder, what, make)
        pooled = Embedded(self.pool(features, encoder), self.subjects)
        return Sides(query=pooled, gallery=pooled)

    def pool(self, features: np.ndarray, encoder: Encoder) -> np.ndarray:
        """Returns the templates [templates, dims], of those images that have an embedding."""
        kept = np.isfinite(features).all(1)
        self.left_out[str(encoder.path)] = int(np.count_nonzero(~kept))
        images = np.bincount(self.template_rows[kept], minlength=len(self.templates))
        if not images.all():
            template = self.templates[np.argmin(images)]
            raise InputError(
                f"{self.folder}: no image of template {template} can be used; its pairs have no "
                "score"
            )
        if not kept.all():  # else without a copy
            features = features[kept]
        scores = self.images.scores[kept] if self.detector_score else None
        weights = templates.image_weights(
            features=features,
            templates=self.images.templates[kept],
            medias=self.images.medias[kept],
            scores=scores,
            normalise_first=self.normalise_first,
        )
        rows = self.template_rows[kept]
        return templates.pool(features, rows, len(self.templates), weights)

    def measure(self, query: Embedded, gallery: Embedded) -> Measured:
        """Returns all metrics of the set."""
        return rates.measure(query, gallery, self.lists)

    def searched(self, sides: Sides) -> Sides:
        """Returns every probe and both galleries at once, which share no subject."""
        probes = self.lists.probes.rows
        rows = np.concatenate([listed.rows for listed in self.lists.galleries])
        return Sides(
            query=Embedded(sides.query.embeddings[probes], self.subjects[probes]),
            gallery=Embedded(sides.gallery.embeddings[rows], self.subjects[rows]),
        )

    def searched_names(self) -> list[SearchedNames]:
        """Returns the first image of each template that is searched, and of each in the gallery."""
        _, first_image = np.unique(self.template_rows, return_index=True)
        names = np.array(self.images.names)[first_image]
        probes = names[self.lists.probes.rows].tolist()
        found = []
        for listed in self.lists.galleries:
            gallery = names[listed.rows].tolist()
            found.append(SearchedNames(probes, gallery))
        return found

    def pictures(self, names: Collection[str]) -> dict[str, Image.Image]:
        """Returns those of the images that can be read."""
        return self.aligned.pictures(names, alignment.TEMPLATE_SIZE)

    def counts(self) -> dict[str, int]:
        """Returns how many templates, images and queries it has."""
        return {
            "templates": len(self.templates),
            "images": len(self.images.names),
            "queries": len(self.lists.probes.rows),
        }

    def notes(self, encoders: Collection[Encoder]) -> list[str]:
        """Tells how many images were left out, and which rates the pairs are too few for."""
        left_out = []
        for path in dict.fromkeys(str(encoder.path) for encoder in encoders):
            count = self.left_out.get(path)
            if count:
                left_out.append(
                    f"{count:,} of {len(self.images.names):,} images were left out of their "
                    f"templates for {path} (missing, damaged, or without a finite embedding; "
                    f"{option('on_bad', 'skip')})"
                )
        impostors = self.lists.pairs.impostors
        measured = rates.measured_fars(impostors)
        return left_out + unresolved_notes(
            "TAR@FAR", measured, impostors, "as published, but not to be relied on"
        )

    def made_from(self) -> dict[str, str]:
        """Returns what decides the numbers, besides the encoders."""
        meta = self.folder / "meta"
        files = {}
        for path in sorted(meta.glob(f"{self.names.files}_*")):
            files[path.name] = artefacts.file_sha256(path)
        return {
            "meta": artefacts.fingerprint(files),
            "images": self.aligned.fingerprint(),
            "on_bad": self.on_bad,
        }


class IJBB(IJB):
    """Measures IJB-B."""

    names = Names("ijbb", ("S1", "S2"))


class IJBC(IJB):
    """Measures IJB-C."""

    names = Names("ijbc", ("G1", "G2"))
