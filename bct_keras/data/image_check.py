"""Decodes images with Pillow, by the rule of `bct_keras.data.images`; finds those that are broken.

Nothing here needs TensorFlow, which takes seconds to start.
"""

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from bct_keras.data.image_header import MAXIMUM_PIXELS, ImageSize, orientation_of
from bct_keras.errors import BadImageError

FORMATS = ("JPEG", "PNG")  # what Pillow, TensorFlow and the devices' decoders all read
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def inspect(encoded: bytes, name: str) -> ImageSize:
    """Returns the size of an image, all of which is decoded.

    So a truncated one is found here and not in the middle of training.
    """
    image = loaded(encoded, name)
    return ImageSize(image.width, image.height)


def decode(encoded: bytes, name: str) -> Image.Image:
    """Returns the image in RGB, upright."""
    image = in_rgb(loaded(encoded, name))
    orientation = orientation_of(encoded)
    if orientation == 1:
        return image
    return image.transpose(TURNS[orientation])


def in_rgb(image: Image.Image) -> Image.Image:
    """Returns the image in red, green and blue of 8 bits."""
    if image.mode.startswith("I"):  # grey of 16 bits, of which Pillow's own conversion makes white
        upper = np.asarray(image) >> 8
        image = Image.fromarray(upper.astype(np.uint8))
    image.info.pop("transparency", None)  # a warning otherwise
    if image.mode == "RGB":
        return image
    return image.convert("RGB")


def loaded(encoded: bytes, name: str) -> Image.Image:
    """Opens the image and reads its pixels, in the colours that it is stored in."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if image.width * image.height > MAXIMUM_PIXELS:
            raise BadImageError(f"{name}: {image.width} x {image.height} pixels are too many")
        if image.mode == "CMYK":
            raise BadImageError(f"{name}: a JPEG of four colours (CMYK); save it as RGB")
        image.load()
        return image
    except UnidentifiedImageError:
        raise BadImageError(f"{name}: not a JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImageError(f"{name}: the image cannot be decoded ({error})") from None
