"""What every encoder can do, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data import dataset, unreadable
from bct_keras.data.preprocessing import OWN, Preprocessing
from bct_keras.encoders.shapes import check_answer
from bct_keras.errors import InputError
from bct_keras.specs import quoted

BATCH_SIZE = 256
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
    # Whether an image without a finite embedding is let through, its row not a number; else it
    # raises an error.
    lets_fail = False

    def __init__(self, path: Path, image_size: int, dims: int):
        self.path = path
        self.image_size = image_size
        self.dims = dims
        self.compatible_dims = dims  # those that an old gallery is searched with
        self.preprocessing = OWN
        self.spec = str(path)  # what loads it again

    @abstractmethod
    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] float32 of images [batch, size, size, 3] uint8."""

    @property
    def compatible(self) -> "Encoder":
        """Returns the encoder whose embeddings search the gallery of an older one.

        That is this one itself, unless its own gallery holds more than the old one can.
        """
        if self.compatible_dims < self.dims:
            return FirstDims(self, self.compatible_dims)
        return self

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

    def embed_data(self, data: dataset.DataSet, shards: Sequence[dataset.Shard] | None = None):
        """Yields (embeddings, batch) over the records in stored order."""
        for batch in self.images_of(data, shards):
            embeddings = self.embed(batch["image"].numpy())
            yield self.checked(embeddings, batch), batch

    def let_fail(self, lets_fail: bool = True) -> None:
        """Lets images without a finite embedding through, as rows that are not numbers, or not."""
        self.lets_fail = lets_fail

    def of_ids(self, ids: Sequence[str]) -> np.ndarray:
        """Returns the embeddings [n, dims] of items that are stored; raises where none is."""
        raise InputError(f"{self.path} embeds images, and there are none: give stored embeddings")

    def checked(self, embeddings: np.ndarray, batch) -> np.ndarray:
        """Returns a batch's embeddings; raises where they are not all there and finite."""
        check_answer(self.path, embeddings.shape, (len(batch["label"]), self.dims))
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            if self.lets_fail:
                embeddings = embeddings.copy()
                embeddings[~finite] = np.nan
                return embeddings
            first_bad = int(np.argmin(finite))
            image = dataset.ids_of(batch)[first_bad]
            raise InputError(f"{self.path} gives no finite embedding for image {image}")
        return embeddings

    def images_of(
        self, data: dataset.DataSet, shards: Sequence[dataset.Shard] | None = None
    ) -> Iterator[dict]:
        """Yields the batches of a data set, at the size that this encoder takes."""
        taken = data.as_taken(self.image_size, self.preprocessing.resize)
        with unreadable.named(data, shards):
            yield from taken.batches(BATCH_SIZE, shards)


class DerivedEncoder(Encoder):
    """Computes each embedding from those of other encoders, whose embeddings are kept."""

    # Whether it may be computed of an image's embedding plus that of its mirror image.
    of_sums = False

    def __init__(self, dims: int, *sources: Encoder):
        first = sources[0]
        super().__init__(first.path, first.image_size, dims)
        self.sources = sources
        self.preprocessing = first.preprocessing
        self.spec = first.spec
        self.cached = all(source.cached for source in sources)
        self.lets_fail = any(source.lets_fail for source in sources)

    def let_fail(self, lets_fail: bool = True) -> None:
        """Lets images through, or not, of which a source has no finite embedding."""
        super().let_fail(lets_fail)
        for source in self.sources:
            source.let_fail(lets_fail)

    @abstractmethod
    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns the embeddings of images by those of each of the other encoders."""

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] of images [batch, size, size, 3] uint8."""
        embeddings = [source.embed(images) for source in self.sources]
        return self.derive(*embeddings)

    def embed_data(self, data: dataset.DataSet, shards: Sequence[dataset.Shard] | None = None):
        """Yields (embeddings, batch) over the records; each source gets them at its own size."""
        every = [source.embed_data(data, shards) for source in self.sources]
        for found in zip(*every, strict=True):
            embeddings = [some for some, _ in found]
            _, batch = found[0]
            yield self.derive(*embeddings), batch

    def of_ids(self, ids: Sequence[str]) -> np.ndarray:
        """Returns the embeddings [n, dims] of items by those that are stored with these ids."""
        embeddings = [source.of_ids(ids) for source in self.sources]
        return self.derive(*embeddings)


class PartOfEncoder(DerivedEncoder):
    """Gives some of the coordinates of another encoder, and goes by that one's fingerprint."""

    of_sums = True

    def __init__(self, encoder: Encoder, columns: slice):
        self.columns = columns
        super().__init__(len(range(encoder.dims)[columns]), encoder)
        self.encoder = encoder

    @property
    def fingerprint(self) -> str:
        """Names the embeddings of the other encoder, which are those that are kept."""
        return self.encoder.fingerprint

    def derive(self, *embeddings: np.ndarray) -> np.ndarray:
        """Returns these coordinates of embeddings [batch, all dims]."""
        (whole,) = embeddings
        return whole[:, self.columns]


class FirstDims(PartOfEncoder):
    """Gives the first coordinates of another encoder's embeddings."""

    def __init__(self, encoder: Encoder, dims: int):
        super().__init__(encoder, slice(0, dims))


class TwoOutputs(PartOfEncoder):
    """Gives the output `embedding` of a file that has `embedding_compatible` too.

    Args:
        whole: The file, whose embeddings are both outputs, one after the other.
    """

    def __init__(self, whole: "FileEncoder"):
        super().__init__(whole, slice(0, whole.free_dims))
        self.whole = whole
        self.compatible_dims = whole.dims - whole.free_dims

    @property
    def compatible(self) -> Encoder:
        """Returns the encoder of the other output."""
        return PartOfEncoder(self.whole, slice(self.whole.free_dims, None))


class FileEncoder(Encoder):
    """Embeds by a file, which may come from anybody.

    Pixels are brought to what it takes, and its answers are checked.
    """

    kind: str  # its name in a spec

    def __init__(
        self,
        path: Path,
        image_size: int,
        dims: int,
        preprocessing: Preprocessing,
        compatible_dims: int = 0,
    ):
        """Args are those of any encoder, and the dimensions of `embedding_compatible`, if any."""
        super().__init__(path, image_size, dims + compatible_dims)
        self.free_dims = dims  # those of `embedding`, which comes first
        self.preprocessing = preprocessing

    @property
    def view(self) -> Encoder:
        """Returns what it is to its users, who know of one embedding at a time."""
        if self.free_dims < self.dims:
            return TwoOutputs(self)
        return self

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


def first_sentence(error: Exception) -> str:
    """Returns the first sentence of what a library says of an error."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    sentence, _, _ = lines[0].partition(". ")
    return sentence
