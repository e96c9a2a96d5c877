"""Holds what a fit has found, as an encoder, as a Keras model, and in words."""

from dataclasses import dataclass
from typing import Any

import keras

from bct_keras.adapt.weight import Weight
from bct_keras.adapters import Adapter
from bct_keras.adapters.folding import with_adapter, with_fused
from bct_keras.encoders import (
    AdaptedEncoder,
    Encoder,
    FusedEncoder,
    KerasEncoder,
    TwoOutputs,
    TwoSpaces,
)


@dataclass(frozen=True)
class Adaptation:
    """A new encoder, an old one, and what was fitted between them."""

    new: Encoder
    old: Encoder
    adapter: Adapter | None  # None where the new encoder is compatible by itself
    adapter_file: str  # what loads it again
    weight: Weight | None = None  # of the fused query; None where it is not fused

    @property
    def compatible(self) -> Encoder:
        """Returns the encoder that the old gallery is searched with."""
        found = self.new.compatible
        if self.adapter is not None:
            found = AdaptedEncoder(self.new, self.adapter, self.adapter_file)
        if self.weight is not None:
            found = FusedEncoder(found, self.old, self.weight.value)
        return found

    @property
    def encoder(self) -> Encoder:
        """Returns the new encoder with what the old gallery is searched with."""
        return TwoSpaces(self.new, self.compatible)

    @property
    def moved(self) -> Encoder:
        """Returns the old encoder behind an adapter old -> new: the gallery that it moves."""
        assert self.adapter is not None
        return AdaptedEncoder(self.old, self.adapter, self.adapter_file)

    def model(self) -> keras.Model | None:
        """Returns all of it as one Keras model of two outputs; None where a part is no such model.

        The old encoder is a part where queries are fused.
        """
        new = model_of(self.new)
        old = model_of(self.old)
        if new is None or (self.weight is not None and old is None):
            return None
        if self.adapter is not None:
            new = with_adapter(new, self.adapter)
        if self.weight is not None and old is not None:
            new = with_fused(new, old, self.weight.value)
        return new


def model_of(encoder: Encoder) -> Any:
    """Returns the Keras model that an encoder is, with its preprocessing; None where it is none."""
    file = encoder.whole if isinstance(encoder, TwoOutputs) else encoder
    if not isinstance(file, KerasEncoder) or file.colours_first:
        return None
    return file.model
