"""Reads, aligns and embeds the images of an IJB set, in the order of the landmark file."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from bct_keras import artefacts, progress
from bct_keras.data import image_check
from bct_keras.encoders.encoder import BATCH_SIZE, Encoder
from bct_keras.errors import BadImageError
from bct_keras.evaluate.ijb import alignment
from bct_keras.untrusted.reading import LARGEST_IMAGE, read_bytes

BATCHES_AHEAD = 4


class AlignedImages:
    """Reads the images of a folder and aligns their faces."""

    def __init__(self, folder: Path, names: Sequence[str], landmarks: np.ndarray):
        self.folder = folder
        self.names = names
        self.landmarks = landmarks

    @cached_property
    def sizes(self) -> list[int]:
        """Returns the size of each file in bytes; -1 where there is no such file."""
        return [size_of(self.folder / name) for name in self.names]

    def fingerprint(self) -> str:
        """Returns the fingerprint of names and sizes.

        To read half a million files whole would take longer than to judge them.
        """
        landmarks = hashlib.sha256(self.landmarks.tobytes()).hexdigest()
        return artefacts.fingerprint([list(self.names), self.sizes, landmarks])

    def missing(self) -> list[str]:
        """Returns the names of images that are not there."""
        found = []
        for name, size in zip(self.names, self.sizes, strict=True):
            if size < 0:
                found.append(name)
        return found

    def read(
        self, row: int, sampling_map: np.ndarray, image_size: int
    ) -> np.ndarray | BadImageError:
        """Returns the aligned image, or what is wrong with its file.

        Args:
            row: Which of the images.
            sampling_map: Where the aligned image looks up its pixels, see `sampling_maps`.
            image_size: Pixels of a side of the aligned image [image_size, image_size, 3] uint8.
        """
        path = self.folder / self.names[row]
        try:
            content = read_bytes(path, LARGEST_IMAGE, BadImageError)
            image = image_check.decode(content, str(path))
        except BadImageError as bad:
            return bad
        return alignment.align(image, sampling_map, image_size)

    def batches(self, image_size: int) -> Iterator[tuple[range, list[np.ndarray | BadImageError]]]:
        """Yields rows and their images, read a few batches ahead on two threads.

        Decoding and most of aligning leave Python's lock.
        """
        maps = alignment.sampling_maps(self.landmarks, image_size)
        waiting: list[tuple[range, list[Future]]] = []
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(self.names), BATCH_SIZE):
                end = min(start + BATCH_SIZE, len(self.names))
                rows = range(start, end)
                futures = []
                for row in rows:
                    futures.append(pool.submit(self.read, row, maps[row], image_size))
                waiting.append((rows, futures))
                if len(waiting) > BATCHES_AHEAD:
                    first, futures = waiting.pop(0)
                    yield first, [future.result() for future in futures]
            for rows, futures in waiting:
                yield rows, [future.result() for future in futures]

    def embed(self, encoder: Encoder, flip: bool, on_bad: str) -> np.ndarray:
        """Returns the embedding of each image [images, dims] float32.

        Args:
            encoder: What embeds.
            flip: Whether that of the mirror image is added.
            on_bad: `fail`, or `skip`: then a row is not finite where the image cannot be used.
        """
        found = np.full((len(self.names), encoder.dims), np.nan, np.float32)
        with progress.bar(f"embedding {self.folder}", len(self.names)) as done:
            for rows, read in self.batches(encoder.image_size):
                good, images = [], []
                for row, image in zip(rows, read, strict=True):
                    if isinstance(image, np.ndarray):
                        good.append(row)
                        images.append(image)
                    elif on_bad == "fail":
                        raise image
                if good:
                    found[good] = embed_batch(encoder, np.stack(images), flip)
                    self.check_finite(encoder, found, good, on_bad)
                done.update(len(rows))
        return found

    def pictures(self, names: Collection[str], image_size: int) -> dict[str, Image.Image]:
        """Returns those of the images that can be read."""
        maps = alignment.sampling_maps(self.landmarks, image_size)
        found = {}
        for row, name in enumerate(self.names):
            if name in names:
                image = self.read(row, maps[row], image_size)
                if isinstance(image, np.ndarray):
                    found[name] = Image.fromarray(image)
        return found

    def check_finite(
        self, encoder: Encoder, found: np.ndarray, rows: list[int], on_bad: str
    ) -> None:
        """Raises where an image that may not be left out has no finite embedding."""
        for row in rows:
            if on_bad == "fail" and not np.isfinite(found[row]).all():
                raise BadImageError(
                    f"{encoder.path} gives no finite embedding for {self.folder / self.names[row]}"
                )


def embed_batch(encoder: Encoder, pixels: np.ndarray, flip: bool) -> np.ndarray:
    """Returns the embeddings of a batch [batch, dims].

    Args:
        encoder: What embeds.
        pixels: [batch, size, size, 3] uint8
        flip: Whether those of the mirror images are added.
    """
    embeddings = encoder.embed(pixels)
    if not flip:
        return embeddings
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    return embeddings + encoder.embed(mirrored)


def size_of(path: Path) -> int:
    """Returns the size of a file in bytes, -1 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
