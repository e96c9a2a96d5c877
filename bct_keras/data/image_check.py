"""Whether an encoded image can be decoded, and its size; without TensorFlow, which takes seconds to start."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from bct_keras.data.image_header import MAXIMUM_PIXELS, ImageSize
from bct_keras.errors import BadImageError

FORMATS = ("JPEG", "PNG")  # what Pillow, TensorFlow and the devices' decoders all read


def inspect(encoded: bytes, name: str) -> ImageSize:
    """Decodes the whole image, so that a truncated one is found here and not in the middle of training."""
    image = decode(encoded, name)
    return ImageSize(image.width, image.height)


def decode(encoded: bytes, name: str) -> Image.Image:
    """Its pixels are read already."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if image.width * image.height > MAXIMUM_PIXELS:
            raise BadImageError(f"{name}: {image.width} x {image.height} pixels are too many")
        image.load()
        return image
    except UnidentifiedImageError:
        raise BadImageError(f"{name}: not a JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImageError(f"{name}: the image cannot be decoded ({error})") from None
