"""Embeds a protocol's images by both outputs of a file."""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bct_keras.encoders import Encoder, TwoOutputs
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.verification import Sides


@dataclass(frozen=True)
class Spaces:
    """What a protocol's images are in both spaces of a file, which may be the same one."""

    own: Sides  # by `embedding`: entries, and queries among them
    compatible: Sides  # by `embedding_compatible`: queries in the old gallery


def embedded(protocol: Protocol, encoder: Encoder) -> Spaces:
    """Returns the images by both outputs of a file, through which each of them runs once."""
    if encoder.cached or not isinstance(encoder, TwoOutputs):
        return by_both(protocol, encoder)
    # Both outputs are of one run, which is kept until the second has been taken of it.
    with tempfile.TemporaryDirectory() as folder:
        keeping = copy.copy(protocol)
        keeping.cache = EmbeddingCache(Path(folder))
        return by_both(keeping, encoder.whole.view)


def by_both(protocol: Protocol, encoder: Encoder) -> Spaces:
    """Returns the images by both outputs, each embedded by itself."""
    own = compatible = protocol.embed(encoder)
    if encoder.compatible is not encoder:
        compatible = protocol.embed(encoder.compatible)
    return Spaces(own, compatible)
