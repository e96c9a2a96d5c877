"""Where a network for classifying ends, and its features begin."""

from typing import Any

import keras

SCORES = ("softmax", "sigmoid", "log_softmax")
# Of layers that give the scores of classes without an activation: keras.applications, keras-hub.
NAMES = ("predictions", "logits")
PASSED = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout)


def without_top(model: Any) -> tuple[Any, str]:
    """Returns the symbolic features of a model less its classifier, and which they are in words.

    A classifier is a dense layer (or a convolution in its place) whose output becomes the scores of
    classes: by its own activation, by one behind it, or by its name.
    """
    if len(model.outputs) != 1:
        raise ValueError(f"it has {len(model.outputs)} outputs")
    tensor = model.outputs[0]
    last = maker_of(model, tensor)
    layer = last
    if not isinstance(layer, keras.layers.Dense) and gives_scores(layer):
        layer = maker_of(model, layer.input)
        while isinstance(layer, PASSED):
            layer = maker_of(model, layer.input)
        if not is_classifier(layer):
            raise ValueError(f"it ends in {last.name}, and no layer that classifies is before that")
    elif not (is_classifier(layer) and (gives_scores(layer) or layer.name in NAMES)):
        return tensor, f"its last layer {layer.name} is the embedding"
    before = maker_of(model, layer.input)
    return layer.input, f"its classifier {layer.name} is cut off, layer {before.name} is taken"


def is_classifier(layer: Any) -> bool:
    """Tells whether a layer can give the scores of classes."""
    return isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)


def gives_scores(layer: Any) -> bool:
    """Tells whether what a layer gives are the shares of classes."""
    if isinstance(layer, keras.layers.Softmax):
        return True
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", "") in SCORES


def maker_of(model: Any, tensor: Any) -> Any:
    """Returns the layer of a model whose output this is."""
    for layer in reversed(model.layers):
        outputs = keras.tree.flatten(layer.output)
        if any(output is tensor for output in outputs):
            return layer
    raise ValueError("which layer its output comes from cannot be told")
