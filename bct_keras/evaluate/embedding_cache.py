"""Keeps the embeddings of a protocol's images, so that a second metric costs nothing.

They are found by the fingerprints of the encoder and of the images.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.encoders import DerivedEncoder, Encoder
from bct_keras.engines import Engine
from bct_keras.errors import InputError
from bct_keras.untrusted.arrays import open_array


class EmbeddingCache:
    """Keeps embeddings in a folder, a file for each encoder and set of images.

    Args:
        folder: Where they are kept.
        engine: What embeds data sets; None is this process.
    """

    def __init__(self, folder: Path, engine: Engine | None = None):
        self.folder = folder
        self.engine = engine

    def get(
        self, encoder: Encoder, images: dict[str, Any], make: Callable[[Encoder], np.ndarray]
    ) -> np.ndarray:
        """Returns the embeddings of some images [rows, dims]; makes them where none are stored.

        Args:
            encoder: What embeds.
            images: Everything that decides what comes out, besides the encoder; with a true `flip`
                an embedding is the sum of those of an image and its mirror image.
            make: Embeds the images.
        """
        if not encoder.cached:
            return make(encoder)
        if isinstance(encoder, DerivedEncoder):
            if images.get("flip") and not encoder.of_sums:
                return make(encoder)
            embeddings = [self.get(source, images, make) for source in encoder.sources]
            return encoder.derive(*embeddings)
        name = artefacts.fingerprint({"encoder": encoder.fingerprint, **images})
        path = self.folder / f"{name}.npy"
        try:
            return open_array(path)
        except InputError:  # not there, or cut off by hand
            pass
        embeddings = make(encoder)
        stores.make_folder(self.folder)
        artefacts.write_beside(path, lambda partial: np.save(partial, embeddings))
        return embeddings
