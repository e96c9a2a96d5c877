"""Whether an encoded image can be decoded, and its size; without TensorFlow, which takes seconds to start."""

import io
import warnings

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
