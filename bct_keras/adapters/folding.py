"""Makes one model of an encoder and what its queries of an old gallery need behind it.

That is an adapter, or the old encoder with whose embedding its own is fused.
"""

from typing import Any

import keras

from bct_keras.adapters.adapter import Adapter
from bct_keras.errors import InputError

# The outputs of an encoder that has two: for new galleries, and for the old one.
EMBEDDING, COMPATIBLE = "embedding", "embedding_compatible"


def with_adapter(encoder: keras.Model, adapter: Adapter) -> keras.Model:
    """Returns an encoder of two outputs: its own embedding, and what an adapter makes of it.

    Args:
        encoder: A model from images to [batch, source dims].
        adapter: A fitted adapter new -> old.

    Returns:
        A model of Keras's own layers, which is loaded without this package. `embedding` is for new
        entries, `embedding_compatible` searches the old gallery.

    Example:
        >>> image = keras.Input((8, 8, 3))
        >>> encoder = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
        >>> random = np.random.default_rng(0)
        >>> new = random.normal(size=(20, 3))
        >>> adapter = bct.adapters.fit("linear", new, new[:, :2])
        >>> folded = with_adapter(encoder, adapter)
        >>> sorted(folded.output_names)
        ['embedding', 'embedding_compatible']
    """
    found: Any = encoder.outputs
    if len(found) != 1:
        raise InputError(f"the encoder has {len(found)} outputs; an adapter is folded behind one")
    embedding = found[0]
    if embedding.shape[1] != adapter.source_dims:
        raise InputError(
            f"the adapter takes embeddings of {adapter.source_dims} dimensions, and the encoder"
            f" gives {embedding.shape[1]}"
        )
    compatible = adapter.layers_on(embedding)
    return two_outputs(encoder, embedding, compatible)


def two_outputs(encoder: keras.Model, embedding: Any, compatible: Any) -> keras.Model:
    """Returns an encoder with these two symbolic outputs.

    Args:
        encoder: What `embedding` is an output of.
        embedding: [batch, dims]
        compatible: [batch, old dims], the output of a layer named `embedding_compatible`.
    """
    # Keras calls the outputs of a model that it has read by the names of their layers.
    named = keras.layers.Identity(name=EMBEDDING)(embedding)
    outputs = {EMBEDDING: named, COMPATIBLE: compatible}
    return keras.Model(encoder.inputs[0], outputs, name=encoder.name)


def with_fused(new: keras.Model, old: keras.Model, weight: float) -> keras.Model:
    """Returns one model of two encoders: the new embedding, and the two fused for an old gallery.

    fused = weight * unit(n) + (1 - weight) * unit(o), at length 1

    Args:
        new: The new encoder; n is its output `embedding_compatible`, or else its only one.
        old: The old encoder, of as many dims as n. An image is resized to what it takes.
        weight: How much n counts, from 0 to 1.

    Returns:
        A model with the outputs `embedding` and `embedding_compatible`.

    Example:
        >>> image = keras.Input((8, 8, 3))
        >>> encoder = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
        >>> pixels = np.full((1, 8, 8, 3), 7.0)
        >>> found = with_fused(encoder, encoder, 0.5).predict(pixels, verbose=0)
        >>> found["embedding_compatible"].round(3)
        array([[0.577, 0.577, 0.577]], dtype=float32)
    """
    size = new.inputs[0].shape[1]
    image = keras.Input((size, size, 3), name="image")
    embedding, compatible = outputs_of(new, image)
    pixels: Any = image
    old_size = old.inputs[0].shape[1]
    if old_size != size:
        pixels = keras.layers.Resizing(old_size, old_size, name="old_image")(pixels)
    _, old_embedding = outputs_of(named(old, "old_encoder"), pixels)
    unit_new = keras.layers.UnitNormalization(name="unit_new")(compatible)
    unit_old = keras.layers.UnitNormalization(name="unit_old")(old_embedding)
    mean = weight * unit_new + (1.0 - weight) * unit_old
    fused = keras.layers.UnitNormalization(name=COMPATIBLE)(mean)
    return two_outputs(keras.Model(image, embedding, name=new.name), embedding, fused)


def named(model: keras.Model, name: str) -> keras.Model:
    """Returns the same model under another name."""
    outputs: Any = model.outputs[0]
    if len(model.outputs) > 1:
        outputs = dict(zip(model.output_names, model.outputs, strict=True))
    return keras.Model(model.inputs[0], outputs, name=name)


def outputs_of(encoder: keras.Model, image: Any) -> tuple[Any, Any]:
    """Returns the symbolic embedding of an image, and the one for an old gallery."""
    found: Any = encoder(image)
    if isinstance(found, dict):
        return found[EMBEDDING], found[COMPATIBLE]
    return found, found
