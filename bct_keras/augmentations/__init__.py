"""Holds augmentations: Keras layers that change images of 0 to 255 while training.

The encoder that is trained sees the changed images. Old embeddings stay those of the images as they
are, which is what a gallery holds. A new one is a class in a file here and a line below; layers of
Keras, or your own, do as well.
"""

import keras

from bct_keras.augmentations.augmentation import Augmentation as Augmentation
from bct_keras.augmentations.colour import Colour
from bct_keras.augmentations.crop import Crop
from bct_keras.augmentations.flip import Flip as Flip
from bct_keras.augmentations.seeds import augmented as augmented


def flip(seed: int | None = None) -> keras.layers.Layer:
    """Returns the layer that mirrors half of the images.

    It stands in the table as a function: what it says that it returns is what one of the user's own
    may be, any layer of Keras (untrusted/own_code.py).
    """
    return Flip(seed)


AUGMENTATIONS = {"colour": Colour, "crop": Crop, "flip": flip}
