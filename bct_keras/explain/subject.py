"""An encoder as the explanations take it: a cosine that can be asked for its reasons."""

from functools import cached_property
from typing import Any

import keras
import numpy as np

from bct_keras.backbones import one_dnn
from bct_keras.encoders import Encoder, KerasEncoder, TwoOutputs
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError
from bct_keras.methods.outputs import COMPATIBLE
from bct_keras.vectors import normalised

ACTIVATIONS = (
    keras.layers.ReLU,
    keras.layers.PReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
SMALLEST_GRID = 7  # rows and columns: on 4 x 4 a map cannot tell the eyes from the mouth


class Subject:
    """An encoder that is asked for reasons."""

    def __init__(self, encoder: Encoder, dims: int):
        """Takes an encoder whose `compatible` part, of `dims` coordinates, searches the gallery."""
        if isinstance(encoder, StoredEmbeddings):
            raise InputError(
                f"{encoder.path} holds stored embeddings: there is no encoder to ask "
                "what it looks at"
            )
        self.encoder = encoder
        self.file = encoder.whole if isinstance(encoder, TwoOutputs) else encoder
        self.dims = dims
        if isinstance(self.file, KerasEncoder) and self.has_gradients:
            one_dnn.check_gradients(self.file.model, encoder.path)

    def cosines(self, images: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Returns the cosines [batch] of images to a reference.

        Args:
            images: [batch, size, size, 3] uint8.
            reference: Of length 1, [dims].
        """
        embeddings = self.encoder.compatible.embed(images)
        compared = normalised(embeddings[:, : self.dims])
        return compared @ reference

    @cached_property
    def has_gradients(self) -> bool:
        """Tells whether the maps that need gradients can be made.

        A TFLite, an ONNX file or a SavedModel has none, nor has a Keras model without a graph of
        layers. One that was given a preprocessing is a layer behind it, whose own layers are not
        to be seen.
        """
        encoder = self.file
        return (
            isinstance(encoder, KerasEncoder)
            and encoder.preprocessing.is_plain
            and bool(spatial_layers(encoder.model))
        )

    def facts(self) -> dict[str, Any]:
        """Returns where the maps by gradients and features are taken."""
        if not self.has_gradients:
            return {"layer": None, "grid": None}
        return {
            "layer": self.layer.name,
            "grid": " x ".join(map(str, self.layer.output.shape[1:3])),
        }

    @cached_property
    def model(self) -> "CosineModel":
        """The model that the maps ask."""
        assert isinstance(self.file, KerasEncoder)
        model = in_float32(self.file.model)
        embedding = model.outputs[0]
        if len(model.outputs) > 1:
            embedding = model.outputs[model.output_names.index(COMPATIBLE)]
        outputs = ExplainedEmbedding(self.dims)(embedding)
        # Inputs in a list, as tf-keras-vis passes them: else Keras warns at every call.
        return CosineModel(list(model.inputs), outputs)

    @cached_property
    def layer(self) -> Any:
        """The layer at which class activation maps are taken.

        It is the deepest one whose map is not too coarse, behind an activation where there is one.

        Class activation maps take features as amounts, so below zero they mean nothing. On the
        demo's encoders those behind an activation correlate with occlusion by 0.3 and 0.5, sums and
        convolutions mostly by nothing.
        """
        layers = spatial_layers(self.model)
        layers = [layer for layer in layers if is_activated(layer)] or layers
        fine = [layer for layer in layers if min(layer.output.shape[1:3]) >= SMALLEST_GRID]
        return (fine or layers)[-1]


class ExplainedEmbedding(keras.layers.Layer):
    """Gives the first coordinates at length 1, and behind them a 0, which keras_maps.py needs.

    One layer with a name of its own: Keras numbers the names of operations anew in each process, so
    that those of a model that was read from a file may be taken.
    """

    def __init__(self, dims: int):
        super().__init__(name="bct_keras_explained_embedding", dtype="float32")
        self.dims = dims

    def call(self, embedding):
        """Returns [batch, dims + 1] of embeddings [batch, all dims]."""
        compared = embedding[:, : self.dims]
        unit = keras.ops.normalize(compared, axis=-1, order=2, epsilon=1e-12)
        return keras.ops.pad(unit, [[0, 0], [0, 1]])


class CosineModel(keras.Model):
    """A model from pixels to the explained embedding [batch, dims + 1]."""

    def predict(self, x, batch_size=None):
        """Returns the embeddings of one batch, which is all that tf-keras-vis asks for.

        Keras's own method shows a bar, which nothing there turns off.
        """
        return self.predict_on_batch(x)


def spatial_layers(model: Any) -> list[Any]:
    """Returns the layers that give [batch, rows, columns, channels], but not the image itself."""
    found = []
    for layer in getattr(model, "layers", []):
        is_image = isinstance(layer, keras.layers.InputLayer)
        if len(output_shape(layer)) == 4 and not is_image:
            found.append(layer)
    return found


def output_shape(layer: Any) -> tuple:
    """Returns a layer's shape; () where it has none or several."""
    try:
        return tuple(layer.output.shape)
    except (AttributeError, ValueError):
        # It was called several times, or gives several outputs, or none.
        return ()


def is_activated(layer: Any) -> bool:
    """Tells whether there is an activation in a layer."""
    if isinstance(layer, ACTIVATIONS):
        return True
    activation = getattr(layer, "activation", keras.activations.linear)
    return activation is not keras.activations.linear


def in_float32(model: Any) -> Any:
    """Returns the same model, or a copy in 32 bits where layers compute in 16 bits.

    tf-keras-vis and SciPy cannot compute in 16 bits.
    """
    if all(layer.compute_dtype in (None, "float32") for layer in model.layers):
        return model

    def clone(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy
