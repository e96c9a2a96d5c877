"""Embeddings of a protocol's images, kept by the fingerprints of encoder and images: a second metric costs nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts
from bct_keras.encoders import Encoder, FirstDims
from bct_keras.errors import InputError
from bct_keras.untrusted.arrays import open_array


class EmbeddingCache:
    def __init__(self, folder: Path):
        self.folder = folder

    def get(
        self, encoder: Encoder, images: dict[str, Any], make: Callable[[Encoder], np.ndarray]
    ) -> np.ndarray:
        """Returns the embeddings of some images [rows, dims], as they are stored, or made and stored.

        Args:
            encoder: What embeds; of one in training nothing is kept.
            images: Everything that decides what comes out, besides the encoder.
            make: Embeds the images.
        """
        if encoder.in_training:
            return make(encoder)
        if isinstance(encoder, FirstDims):
            return self.get(encoder.encoder, images, make)[:, : encoder.dims]
        name = artefacts.fingerprint({"encoder": encoder.fingerprint, **images})
        path = self.folder / f"{name}.npy"
        try:
            return open_array(path)
        except InputError:  # not there, or cut off by hand
            pass
        embeddings = make(encoder)
        self.folder.mkdir(parents=True, exist_ok=True)
        artefacts.write_beside(path, lambda partial: np.save(partial, embeddings))
        return embeddings
