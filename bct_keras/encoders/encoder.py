"""What every encoder can do, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data import dataset, unreadable
from bct_keras.data.preprocessing import CHANNELS, OWN, Preprocessing
from bct_keras.errors import InputError
from bct_keras.specs import quoted

BATCH_SIZE = 256
LARGEST_SIZE = 2048  # pixels of a side
LARGEST_DIMS = 65536
# What the libraries raise where a model cannot take a batch.
FAULTS = (
    ValueError,
    TypeError,
    RuntimeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    tf.errors.OpError,
)


class Encoder(ABC):
    """Images of 0..255 in, embeddings of any norm out."""

    # Whether a cache keeps what it gives; not where its weights still change, or nobody asks again.
    cached = True

    def __init__(self, path: Path, image_size: int, dims: int):
        self.path = path
        self.image_size = image_size
        self.dims = dims
        self.compatible_dims = dims  # the first coordinates, which an old gallery is searched with
        self.preprocessing = OWN
        self.spec = str(path)  # what loads it again

    @abstractmethod
    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] float32 of images [batch, size, size, 3] uint8."""

    @cached_property
    def fingerprint(self) -> str:
        """Names the embeddings that it gives.

        Another preprocessing of the same content gives others.
        """
        content = self.content_fingerprint()
        if self.preprocessing.is_plain:
            return content
        return artefacts.fingerprint([content, self.preprocessing.facts()])

    def content_fingerprint(self) -> str:
        """Names what it is made of: a file or a folder, unless a subclass says otherwise."""
        return path_fingerprint(self.path)

    def embed_data(self, data: dataset.DataSet, shards: tuple[dataset.Shard, ...] | None = None):
        """Yields (embeddings, batch) over the records in stored order."""
        for batch in self.images_of(data, shards):
            embeddings = self.embed(batch["image"].numpy())
            yield self.checked(embeddings, batch), batch

    def checked(self, embeddings: np.ndarray, batch) -> np.ndarray:
        """Returns a batch's embeddings; raises where they are not all there and finite."""
        check_answer(self.path, embeddings.shape, (len(batch["label"]), self.dims))
        finite = np.isfinite(embeddings)
        if not finite.all():
            first_bad = int(np.argmin(finite.all(1)))
            image = dataset.ids_of(batch)[first_bad]
            raise InputError(f"{self.path} gives no finite embedding for image {image}")
        return embeddings

    def images_of(
        self, data: dataset.DataSet, shards: tuple[dataset.Shard, ...] | None = None
    ) -> Iterator[dict]:
        """Yields the batches of a data set, at the size that this encoder takes."""
        taken = data.as_taken(self.image_size, self.preprocessing.resize)
        with unreadable.named(data, shards):
            yield from taken.batches(BATCH_SIZE, shards)


class DerivedEncoder(Encoder):
    """Computes each embedding from that of another encoder, whose embeddings are kept."""

    # Whether it may be computed of an image's embedding plus that of its mirror image.
    of_sums = False

    def __init__(self, encoder: Encoder, dims: int):
        super().__init__(encoder.path, encoder.image_size, dims)
        self.encoder = encoder
        self.preprocessing = encoder.preprocessing
        self.spec = encoder.spec
        self.cached = encoder.cached

    @property
    def fingerprint(self) -> str:
        """Names the embeddings of the other encoder, which are those that are kept."""
        return self.encoder.fingerprint

    @abstractmethod
    def derive(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns the embeddings of images by those of the other encoder."""

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] of images [batch, size, size, 3] uint8."""
        embeddings = self.encoder.embed(images)
        return self.derive(embeddings)


class FirstDims(DerivedEncoder):
    """Gives the first coordinates of another encoder's embeddings."""

    of_sums = True

    def derive(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns the first coordinates of embeddings [batch, all dims]."""
        return embeddings[:, : self.dims]


class FileEncoder(Encoder):
    """Embeds by a file, which may come from anybody.

    Pixels are brought to what it takes, and its answers are checked.
    """

    kind: str  # its name in a spec

    def __init__(self, path: Path, image_size: int, dims: int, preprocessing: Preprocessing):
        super().__init__(path, image_size, dims)
        self.preprocessing = preprocessing

    def spec_with(self, preprocessing: Preprocessing) -> str:
        """Returns what a user writes to load the same file with this preprocessing."""
        path = quoted(str(self.path))
        return f"{self.kind}({path}, {preprocessing.arguments()})"

    @abstractmethod
    def run(self, values: np.ndarray) -> np.ndarray:
        """Returns [batch, dims] float32 of what the file takes.

        That is [batch, size, size, 3], of uint8 or float32.
        """

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] of images [batch, size, size, 3] uint8."""
        return self.embed_as(self.preprocessing, images)

    def embed_as(self, preprocessing: Preprocessing, images: np.ndarray) -> np.ndarray:
        """Returns what `embed` would give with another preprocessing."""
        try:
            values = preprocessing.apply(images)
            found = self.run(values)
        except FAULTS as error:
            these = f"{len(images)} images of {self.image_size} pixels"
            raise InputError(f"{self.path} cannot embed {these}: {first_sentence(error)}") from None
        check_answer(self.path, found.shape, (len(images), self.dims))
        return found


def path_fingerprint(path: Path) -> str:
    """Returns the sha256 of a file, or one of the names and contents of all files in a folder."""
    if path.is_file():
        return artefacts.file_sha256(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such encoder")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    names = [file.relative_to(path).as_posix() for file in files]
    contents = [artefacts.file_sha256(file) for file in files]
    return artefacts.fingerprint([names, contents])


def check_answer(path: Path, found: tuple[int, ...], asked: tuple[int, int]) -> None:
    """Raises where an encoder answers with anything but one embedding for each image."""
    if tuple(found) == asked:
        return
    images, dims = asked
    answer = " x ".join(map(str, found)) or "one number"
    raise InputError(
        f"{path} answers {images} images with {answer} and not with {images} embeddings of "
        f"{dims} dimensions: it cannot be used"
    )


def in_batches(
    run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int
) -> np.ndarray:
    """Runs a file that is made for batches of one size, or of any where that is 0.

    The last batch is filled up with copies of the last image.
    """
    if not size:
        return run(images)
    last = len(images) - 1
    found = []
    for first in range(0, len(images), size):
        rows = np.minimum(np.arange(first, first + size), last)
        found.append(run(images[rows]).copy())
    return np.concatenate(found)[: len(images)]


def checked_shapes(path: Path, image_shape, embedding_shape) -> tuple[int, int, bool]:
    """Returns the size, the dims and whether colours stand first.

    Images may be [batch, size, size, 3] or [batch, 3, size, size]. Raises where they are neither,
    or where the embeddings are not [batch, dims].
    """
    try:
        _, *sides = sides_of(image_shape)
        _, dims = sides_of(embedding_shape)
        colours_first = sides[0] == CHANNELS and sides[-1] != CHANNELS
        if colours_first:
            channels, height, width = sides
        else:
            height, width, channels = sides
    except (TypeError, ValueError, IndexError):
        height = width = channels = dims = -1
        colours_first = False
    # Else memory goes before anything is told.
    sizes_fit = 1 <= height <= LARGEST_SIZE and 1 <= dims <= LARGEST_DIMS
    if height != width or channels != CHANNELS or not sizes_fit:
        raise InputError(
            f"{path} is no encoder of square colour images: {image_shape} in, {embedding_shape} out"
        )
    return height, dims, colours_first


def sides_of(shape) -> list[int]:
    """Returns the sides of a shape, -1 for one that is free."""
    return [int(side or -1) for side in shape]


def first_sentence(error: Exception) -> str:
    """Returns the first sentence of what a library says of an error."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    sentence, _, _ = lines[0].partition(". ")
    return sentence
