"""The pixels of encoded images, in TensorFlow."""

import tensorflow as tf

# The filters that an image can be resized by: TensorFlow's method, and whether it is antialiased. The first three
# agree with Pillow's of the same names.
FILTERS = {
    "bilinear": ("bilinear", True),
    "bicubic": ("bicubic", True),
    "lanczos": ("lanczos3", True),
    "area": ("area", False),
    "nearest": ("nearest", False),
    "opencv_linear": ("bilinear", False),  # INTER_LINEAR, which takes four pixels however much smaller the image gets
}


def decode(encoded: tf.Tensor, image_size: int, resize: bool, filter: str = "bilinear") -> tf.Tensor:
    """[] string -> [image_size, image_size, 3] uint8."""
    # decode_jpeg reads PNG too. The accurate transform is as fast as the default and agrees with Pillow.
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    if resize:
        image = resized(image, image_size, filter)
    return tf.ensure_shape(image, (image_size, image_size, 3))


def resized(image: tf.Tensor, image_size: int, filter: str = "bilinear") -> tf.Tensor:
    """The whole image, stretched where it is not square, by one of FILTERS."""
    method, antialias = FILTERS[filter]
    pixels = tf.image.resize(image, (image_size, image_size), method, antialias=antialias)
    return tf.saturate_cast(tf.round(tf.cast(pixels, tf.float32)), tf.uint8)  # some overshoot at edges
