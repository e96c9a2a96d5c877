"""Encoded images: what they say of themselves, and their pixels."""

import io
import warnings

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from bct_keras.data.image_header import MAXIMUM_PIXELS, ImageSize
from bct_keras.errors import BadImageError

FORMATS = ("JPEG", "PNG")  # what Pillow, TensorFlow and the devices' decoders all read


def inspect(encoded: bytes, name: str) -> ImageSize:
    """Decodes the whole image, so that a truncated one is found here and not in the middle of training."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                if image.width * image.height > MAXIMUM_PIXELS:
                    raise BadImageError(f"{name}: {image.width} x {image.height} pixels are too many")
                image.load()
                return ImageSize(image.width, image.height)
    except UnidentifiedImageError:
        raise BadImageError(f"{name}: not a JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImageError(f"{name}: the image cannot be decoded ({error})") from None


def decode(encoded: tf.Tensor, image_size: int, resize: bool) -> tf.Tensor:
    """[] string -> [image_size, image_size, 3] uint8."""
    # decode_jpeg reads PNG too. The accurate transform is as fast as the default and agrees with Pillow.
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    if resize:
        image = resized(image, image_size)
    return tf.ensure_shape(image, (image_size, image_size, 3))


def resized(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """The whole image, stretched where it is not square; antialiased, as Pillow's bilinear resize is."""
    pixels = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.round(pixels), tf.uint8)
