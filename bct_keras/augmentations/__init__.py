"""Holds augmentations: Keras layers that change images of 0 to 255 while training.

The encoder that is trained sees the changed images. Old embeddings stay those of the images as they
are, which is what a gallery holds. A new one is a class in a file here and a line below; layers of
Keras, or your own, do as well.
"""

from bct_keras.augmentations.augmentation import Augmentation as Augmentation
from bct_keras.augmentations.colour import Colour
from bct_keras.augmentations.crop import Crop
from bct_keras.augmentations.flip import Flip
from bct_keras.augmentations.seeds import augmented as augmented

AUGMENTATIONS = {"colour": Colour, "crop": Crop, "flip": Flip}
