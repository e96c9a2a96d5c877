import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bct_keras.data import images


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth and noisy places, so that the decoder's transform, colours and upsampling all show."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse, np.int64) + random.integers(-40, 40, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def by_pillow(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def eagerly(image: bytes, size: int, resize: bool) -> np.ndarray:
    return images.decode(tf.constant(image), size, resize).numpy()


def in_tf_data(image: bytes, size: int, resize: bool) -> np.ndarray:
    decoded = tf.data.Dataset.from_tensors(image).map(
        lambda encoded: images.decode(encoded, size, resize)
    )
    assert tf.data.experimental.get_structure(decoded) == tf.TensorSpec((size, size, 3), tf.uint8)
    return next(decoded.as_numpy_iterator())


@pytest.fixture(params=[eagerly, in_tf_data])
def decode(request):
    return request.param


@pytest.mark.parametrize("quality", [60, 90, 100])
@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"optimize": True}],
)
def test_a_jpeg_is_decoded_bit_for_bit_as_by_pillow(decode, quality, options):
    image = encoded(picture(112, 112), "JPEG", quality=quality, **options)
    np.testing.assert_array_equal(decode(image, 112, False), by_pillow(image))


def test_a_grey_jpeg_has_three_equal_channels(decode):
    image = encoded(picture(56, 56)[..., 0], "JPEG")
    np.testing.assert_array_equal(decode(image, 56, False), by_pillow(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_png_is_decoded_to_its_pixels(decode, mode):
    file = io.BytesIO()
    Image.fromarray(picture(32, 32)).convert(mode).save(file, "PNG")
    np.testing.assert_array_equal(decode(file.getvalue(), 32, False), by_pillow(file.getvalue()))


@pytest.mark.parametrize(
    ("width", "height"), [(112, 112), (224, 224), (100, 160), (40, 30), (113, 111)]
)
def test_another_size_is_resized_as_pillow_does(decode, width, height):
    image = encoded(picture(width, height), "PNG")
    expected = np.asarray(
        Image.open(io.BytesIO(image)).resize((112, 112), Image.Resampling.BILINEAR), np.int64
    )
    # Pillow rounds after each axis, TensorFlow once.
    assert np.abs(decode(image, 112, True) - expected).max() <= 1


def test_an_image_of_another_size_than_the_data_set_says_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        eagerly(encoded(picture(40, 40), "PNG"), 112, False)
