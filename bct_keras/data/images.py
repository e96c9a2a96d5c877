"""The pixels of encoded images, in TensorFlow."""

import tensorflow as tf


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
