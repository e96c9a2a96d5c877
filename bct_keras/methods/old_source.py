"""Says what methods ask about the old embeddings; arrays answer it, and stored shards do."""

import abc
import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.methods import class_features
from bct_keras.methods.class_blocks import Block

UNIT_LENGTH_ERROR = 1e-3  # what 16 bits and rounding may take a length away from 1


@dataclass(frozen=True)
class Classifier:
    """Holds the head of the old encoder: W x + b, or scale * cos(W_c, x) where there is no b."""

    weights: np.ndarray  # [old classes, old dims]
    bias: np.ndarray | None = None  # [old classes]


class OldSource(abc.ABC):
    """Gives the old embeddings of all images to train on, wherever they lie."""

    dims: int
    classes: int  # labels are below it

    @abc.abstractmethod
    def map_classes(
        self, function: Callable[[Block], Any], what: str, new: Any = None
    ) -> Iterator[tuple[Block, Any]]:
        """Yields classes, of equal size together, with what the function returns for them.

        Args:
            function: Is given a block with the old embeddings, and the new ones where there are
                some.
            what: Names the work, for a progress bar.
            new: The new embeddings, as `embedded` gives them.
        """

    @abc.abstractmethod
    def embedded(
        self, embed: Callable[[Any], np.ndarray]
    ) -> contextlib.AbstractContextManager[Any]:
        """Embeds all images, by a function of a batch, and gives what `map_classes` takes."""

    @abc.abstractmethod
    def classifier(self, named: str = "") -> Classifier:
        """Returns the old head; `named` is what the user gave to find it by, if anything."""

    def feature(self, name: str) -> np.ndarray:
        """Returns a feature of `class_features`: a row for each class, zeros without images."""
        return self._features[name]

    @functools.cached_property
    def _features(self) -> dict[str, np.ndarray]:
        """Is what `computed` returns, computed once."""
        return self.computed()

    def computed(self) -> dict[str, np.ndarray]:
        """Computes all features of all classes."""
        found: dict[str, np.ndarray] = {}
        for name in class_features.OF_DIMS:
            found[name] = np.zeros((self.classes, self.dims), np.float32)
        for name in class_features.OF_CLASS:
            found[name] = np.zeros(self.classes, np.float32)

        def of_block(block: Block) -> dict[str, np.ndarray]:
            return class_features.of_block(block.embeddings[0])

        for block, features in self.map_classes(of_block, "old embeddings by class"):
            for name, values in features.items():
                found[name][block.classes] = values
        return found

    def has_unit_length(self) -> bool:
        """Tells whether all old embeddings have length 1, so that their lengths say nothing."""
        means = np.linalg.norm(self.feature("means"), axis=1)
        if means.max() > 1.0 + UNIT_LENGTH_ERROR:  # a mean is no longer than the longest of all
            return False

        def farthest(block: Block) -> float:
            lengths = np.linalg.norm(block.embeddings[0], axis=2)
            return float(np.abs(lengths - 1.0).max())

        for _, difference in self.map_classes(farthest, "lengths of old embeddings"):
            if difference > UNIT_LENGTH_ERROR:
                return False
        return True

    def refined_prototypes(
        self, embed: Callable[[Any], np.ndarray], temperature: float, smoothing: float
    ) -> np.ndarray:
        """Returns UniBCT's prototypes [classes, dims]; `embed` gives a batch's new embeddings."""

        def refine(block: Block) -> np.ndarray:
            old, new = block.embeddings
            directions = class_features.normalised(new)
            refined = class_features.refined_prototypes(old, directions, temperature, smoothing)
            return class_features.normalised(refined)

        found = np.zeros((self.classes, self.dims), np.float32)
        with self.embedded(embed) as new_embeddings:
            for block, values in self.map_classes(refine, "refining prototypes", new_embeddings):
                found[block.classes] = values
        return found
