"""Makes one model of an encoder and an adapter behind it."""

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
