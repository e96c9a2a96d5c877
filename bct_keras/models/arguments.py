"""Checks what is given to a CompatibleModel, before a step is made."""

from typing import Any

import keras
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.head import Head
from bct_keras.methods.method import Method
from bct_keras.methods.old_source import OldSource
from bct_keras.optimizers import OPTIMIZERS

# Of optimizers that are given by name
LEARNING_RATES = {"adamw": 0.001, "lamb": 0.001, "sgd": 0.01, "sgdw": 0.01}


def optimizer_of(given: Any) -> Any:
    """Returns the optimizer of this package that a name means, or else what was given."""
    if isinstance(given, str) and given in OPTIMIZERS:
        return OPTIMIZERS[given](learning_rate=LEARNING_RATES[given])
    return given


def embedding_dims(backbone: Any) -> int:
    """Returns how many coordinates the embeddings of a backbone have."""
    if not isinstance(backbone, keras.Model):
        raise InputError(
            f"the backbone has to be a keras.Model, and it is a {type(backbone).__name__}"
        )
    try:
        shape = backbone.output_shape
    except (AttributeError, ValueError):
        raise InputError(
            "the backbone does not tell the shape of its output: it has to be a functional model,"
            " or a Sequential one that begins with an Input"
        ) from None
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
        raise InputError(
            "the backbone has to give one embedding [batch, dims] for each image, and its output"
            f" is {shape}; a pooling layer may be missing"
        )
    return int(shape[-1])


def check_parts(head: Any, method: Any) -> None:
    """Raises where the head or the method is something else, such as a class or a name."""
    wanted = ((head, "head", Head, "ArcFace(classes=1000)"), (method, "method", Method, "MixBCT()"))
    for given, name, kind, example in wanted:
        if not isinstance(given, kind):
            found = given.__name__ if isinstance(given, type) else type(given).__name__
            what = f"the class {found}" if isinstance(given, type) else f"a {found}"
            raise InputError(
                f"the {name} has to be an object such as bct_keras.{name}s.{example}, and it is"
                f" {what}"
            )


def check_batches(data: Any, dims: int | None) -> None:
    """Raises where a data set is not in batches, or has old embeddings of other dimensions."""
    spec = getattr(data, "element_spec", None)
    fields = spec[0] if isinstance(spec, tuple) and spec else None
    if not isinstance(fields, dict):
        return
    # Over several replicas the rows of each have a spec of their own, and are in batches already.
    specs = {name: each for name, each in fields.items() if isinstance(each, tf.TensorSpec)}
    image, old = specs.get("image"), specs.get("old_embedding")
    if image is not None and image.shape.rank == 3:
        raise InputError("the data set gives one image at a time; call batch() on it first")
    if dims and old is not None and old.shape.rank == 2 and old.shape[-1] not in (None, dims):
        raise InputError(
            f"the old embeddings of this data set have {old.shape[-1]} dimensions, and the model"
            f" was compiled with old ones of {dims}"
        )


def check_old(old: Any, head: Head, method: Method, dims: int) -> None:
    """Raises where old embeddings do not go with the head or the backbone."""
    if not isinstance(old, OldSource):
        raise InputError(
            f"old has to be OldEmbeddings(old_embeddings, labels), and it is a {type(old).__name__}"
        )
    if old.dims > dims and not method.maps:
        raise InputError(
            f"the old embeddings have {old.dims} dimensions and the backbone gives {dims}: it has"
            " to give as many, or more, for every method but two_outputs"
        )
    if old.classes > head.classes:
        raise InputError(
            f"a label of the old embeddings is {old.classes - 1}, and the head has {head.classes}"
            f" classes, 0 to {head.classes - 1}"
        )
    made_for = method.compatible_dims
    if method.built and made_for not in (None, old.dims):
        raise InputError(
            f"the method was made for old embeddings of {made_for} dimensions, and these have"
            f" {old.dims}"
        )
