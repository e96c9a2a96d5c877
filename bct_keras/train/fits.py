"""Tells whether a network can be started from: its graph, its images, its features."""

from pathlib import Path
from typing import Any

import keras

from bct_keras import _keras
from bct_keras.encoders.encoder import first_sentence
from bct_keras.errors import InputError, option


class OtherSizeError(InputError):
    """A network takes images of another size than those to train on."""

    def __init__(self, side: int, *lines: object):
        super().__init__(*lines)
        self.side = side  # in pixels, as the network takes them


def fault_of_making_again(model: Any) -> str:
    """Returns why a model cannot be made from its configuration; nothing where it can.

    Keras's own layers all can, so that those of other packages alone are tried.
    """
    kinds = {type(layer).__module__.partition(".")[0] for layer in _keras.layers_within(model)}
    if kinds == {"keras"}:
        return ""
    try:
        type(model).from_config(model.get_config())
    except Exception as error:  # whatever a layer of another package does
        return first_sentence(error).partition(" using config")[0]
    return ""


def check_rank(output: Any) -> None:
    """Raises where no embedding can be made of what a layer gives."""
    outputs = keras.tree.flatten(output)
    if len(outputs) != 1:
        raise ValueError(f"that layer gives {len(outputs)} outputs")
    if len(outputs[0].shape) not in (2, 3, 4):
        raise ValueError(
            f"that layer gives {list(outputs[0].shape)}, which is neither features of an image nor "
            "those of its places"
        )


def check_functional(path: Path, model: Any) -> None:
    """Raises where a model has no graph of layers with one image as its input."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise InputError(
            f"{path} has no graph of layers that an embedding could be taken from: save it as a "
            "functional model, keras.Model(image, network(image))"
        )
    if len(model.inputs) != 1:
        raise InputError(f"{path} takes {len(model.inputs)} inputs, and an encoder takes one image")


def check_image(path: Path, shape: Any, image_size: int) -> None:
    """Raises where a model takes no square colour images of this size."""
    sides = list(shape)[1:] if isinstance(shape, tuple | list) else []
    if len(sides) != 3 or sides[2] != 3:
        raise InputError(f"{path} takes {shape}, and images here are [batch, size, size, 3]")
    for side in sides[:2]:
        if side not in (None, image_size):
            raise OtherSizeError(
                side,
                f"{path} takes images of {sides[0]} x {sides[1]} pixels, and those to train on "
                f"have {image_size} x {image_size}.",
                "Prepare the data set at that size, into a folder of its own: image_size="
                f"{side} in its {option('source')}",
            )
