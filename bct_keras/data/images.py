"""The pixels of encoded images, in TensorFlow, and the rule for them.

Four places turn an encoded image into pixels: `prepare` and the data that training reads, the
encoders behind the commands, the graph that a server runs, and a device. All of them keep this
rule, to the pixel; a device only rounds differently where it resizes.

- JPEG and PNG are read, and nothing else, up to 64 million pixels; the header says how many, before
  any is decoded.
- Colours are red, green and blue of 8 bits. Grey is repeated three times, and a palette is looked
  up.
- Of 16 bits the upper 8 are taken, in grey as in colour.
- Transparency is dropped, and the colour under it stays. Profiles of colours and gamma are not
  applied.
- A JPEG of four colours (CMYK) is refused: only its profile would tell what they look like.
- A JPEG is turned as its Exif orientation says (`image_header.orientation_of` says where that is
  looked for); a PNG never is.
- Of a file with several images the first is taken.
- The whole image is then brought to a square, and stretched where it is not one.

`image_check.decode` is the same rule in Pillow, and `export/edge/photo.py` is it on a device.
"""

import tensorflow as tf

from bct_keras.data.image_header import (
    EXIF_START,
    JPEG_START,
    MAXIMUM_PIXELS,
    METADATA_SEGMENTS,
    PNG_START,
)

# Images of a request that are decoded at once: more would need more memory than a small server has.
TOGETHER = 2
ORIENTATION_TAG, SHORT = 0x0112, 3
IFD_ENTRY_BYTES = 12

# The filters that an image can be resized by: TensorFlow's method, and whether it is antialiased.
# The first three agree with Pillow's of the same names.
FILTERS = {
    "bilinear": ("bilinear", True),
    "bicubic": ("bicubic", True),
    "lanczos": ("lanczos3", True),
    "area": ("area", False),
    "nearest": ("nearest", False),
    # OpenCV's INTER_LINEAR, which takes four pixels however much smaller the image gets.
    "opencv_linear": ("bilinear", False),
}


def decode(
    encoded: tf.Tensor,
    image_size: int,
    resize: bool,
    filter: str = "bilinear",
    upright: bool = False,
) -> tf.Tensor:
    """Decodes [] string to [image_size, image_size, 3] uint8.

    Args:
        encoded: the bytes of one JPEG or PNG, which `prepare` or a header's check has let in.
        image_size: the side of the square.
        resize: False where the image is known to have that size.
        filter: how it is resized, one of FILTERS.
        upright: True where the image is known to have no orientation but the usual one, which
            saves looking.
    """
    # decode_jpeg reads PNG too. The accurate transform is as fast as the default and agrees with
    # Pillow.
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    if not upright:
        as_stored = image
        image = tf.cond(
            starts_upright(encoded),
            lambda: as_stored,
            lambda: turned(as_stored, orientation_of(encoded)),
        )
    if resize:
        image = resized(image, image_size, filter)
    return tf.ensure_shape(image, (image_size, image_size, 3))


def resized(image: tf.Tensor, image_size: int, filter: str = "bilinear") -> tf.Tensor:
    """Returns the whole image at a size, stretched where it is not square, by one of FILTERS."""
    method, antialias = FILTERS[filter]
    size = (image_size, image_size)
    pixels = tf.image.resize(image, size, method, antialias=antialias)
    rounded = tf.round(tf.cast(pixels, tf.float32))
    return tf.saturate_cast(rounded, tf.uint8)  # some overshoot at edges


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Brings [height, width, 3] of that Exif orientation upright."""
    order = tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2])
    transposed = tf.transpose(image, order)  # pyright: ignore  (its stub knows no tensors)
    up_side_down = is_one_of(orientation, (3, 4, 7, 8))
    left_side_right = is_one_of(orientation, (2, 3, 6, 7))
    axes = tf.stack([up_side_down, left_side_right, False])
    return tf.raw_ops.Reverse(tensor=transposed, dims=axes)  # pyright: ignore  (its stub knows no tensors)


def is_one_of(number: tf.Tensor, numbers: tuple[int, ...]) -> tf.Tensor:
    """Tells whether a number is among these, [] bool."""
    return tf.reduce_any(number == tf.constant(numbers))


def starts_with(encoded: tf.Tensor, start: bytes) -> tf.Tensor:
    """Tells whether a string begins with these bytes, [] bool."""
    return tf.strings.substr(encoded, 0, len(start)) == start


def starts_upright(encoded: tf.Tensor) -> tf.Tensor:
    """Tells whether the first bytes show that there is no Exif to look for.

    To look for it takes as long as decoding a small image. There is none in a PNG, nor in a JPEG in
    which JFIF's header of 18 bytes is followed by a table at once.
    """
    position = tf.minimum(tf.strings.length(encoded), 20)
    is_table = tf.strings.substr(encoded, position, 2) == b"\xff\xdb"
    is_bare = starts_with(encoded, b"\xff\xd8\xff\xe0\0\x10") & is_table
    return is_bare | tf.logical_not(starts_with(encoded, JPEG_START))


def orientation_of(encoded: tf.Tensor) -> tf.Tensor:
    """Does in a graph what `image_header.orientation_of` does: [] string to [] int32, 1 to 8."""
    length = tf.strings.length(encoded)

    def is_left(position: tf.Tensor, looking: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        has_header = position + 4 <= length
        return looking & has_header

    def exif_at(position: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        # Worked out for every segment, also for one that is shorter.
        start = tf.minimum(position + 10, length)
        return tf.strings.substr(encoded, start, tf.maximum(size - 8, 0))

    def look(
        position: tf.Tensor, looking: tf.Tensor, exif: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        start, marker, high, low = tf.unstack(bytes_at(encoded, position, 4), 4)
        size = 256 * high + low
        starts = start == 0xFF
        fill = starts & (marker == 0xFF)
        application = (marker >= 0xE0) & (marker <= 0xEF)
        metadata = starts & (application | (marker == 0xFE))
        named_exif = tf.strings.substr(encoded, position + 4, 6) == EXIF_START
        is_exif = metadata & (marker == 0xE1) & named_exif
        exif = tf.where(is_exif, exif_at(position, size), exif)
        step = tf.where(fill, 1, 2 + size)
        goes_on = (fill | metadata) & ~is_exif
        return position + step, goes_on, exif

    start = (tf.constant(2), starts_with(encoded, JPEG_START), tf.constant(b""))
    _, _, exif = tf.while_loop(is_left, look, start, maximum_iterations=METADATA_SEGMENTS)
    return tf.cond(tf.strings.length(exif) > 8, lambda: orientation_in(exif), lambda: 1)


def bytes_at(text: tf.Tensor, position: tf.Tensor | int, count: int) -> tf.Tensor:
    """Returns the numbers of so many bytes of a string, [count] int32."""
    piece = tf.strings.substr(text, position, count)
    found = tf.io.decode_raw(piece, tf.uint8)
    found = tf.ensure_shape(found, [count])
    return tf.cast(found, tf.int32)


def orientation_in(exif: tf.Tensor) -> tf.Tensor:
    """Finds the orientation in Exif's data, which are a TIFF file without an image."""
    start = tf.strings.substr(exif, 0, 4)
    is_little = start == b"II*\0"
    is_tiff = is_little | (start == b"MM\0*")
    values = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)
    length = tf.size(values, out_type=tf.int64)

    def number(columns: tf.Tensor) -> tf.Tensor:
        """Returns the whole number that each row's bytes stand for."""
        count = int(columns.shape[-1] or 0)
        powers = [256**power for power in range(count)]
        little = tf.constant(powers, tf.int64)
        weights = tf.where(is_little, little, little[::-1])
        return tf.reduce_sum(columns * weights, axis=-1)

    # A directory: the number of its entries in 2 bytes, and 12 bytes for each entry.
    directory = tf.minimum(number(tf.ensure_shape(values[4:8], [4])), length)
    first = directory + 2
    padded = tf.pad(values, [[0, 2]])
    entries = number(tf.ensure_shape(padded[directory:first], [2]))
    whole = (length - first) // IFD_ENTRY_BYTES
    entries = tf.clip_by_value(whole, 0, entries)
    end = first + IFD_ENTRY_BYTES * entries
    table = tf.reshape(padded[first:end], (-1, IFD_ENTRY_BYTES))
    tag = number(table[:, 0:2])
    kind = number(table[:, 2:4])
    count = number(table[:, 4:8])
    value = number(table[:, 8:10])
    is_orientation = (tag == ORIENTATION_TAG) & (kind == SHORT) & (count == 1)
    is_known = (value >= 1) & (value <= 8)
    found = tf.boolean_mask(value, is_orientation & is_known & is_tiff)
    found_or_upright = tf.concat([found, [1]], axis=0)
    return tf.cast(found_or_upright[0], tf.int32)


def decode_each(encoded: tf.Tensor, image_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a request's images, some of which may be broken without touching the others.

    Args:
        encoded: [images] strings, of anything.
        image_size: the side of the square.

    Returns:
        [images, image_size, image_size, 3] uint8, black where an image is refused, and [images]
        bool that tell which were decoded.
    """
    shape = (image_size, image_size, 3)
    refused = tf.data.Dataset.from_tensors((tf.zeros(shape, tf.uint8), False))

    def accepted(image: tf.Tensor) -> tuple[tf.Tensor, bool]:
        return decode(image, image_size, resize=True), True

    def one(image: tf.Tensor) -> tf.data.Dataset:
        # An operation that fails ends a whole graph, except in a data set that is told to pass over
        # it.
        acceptable = tf.data.Dataset.from_tensors(image).filter(is_acceptable)
        decoded = acceptable.map(accepted).ignore_errors()
        return decoded.concatenate(refused).take(1)

    images = tf.data.Dataset.from_tensor_slices(encoded)
    found = images.interleave(
        one, cycle_length=TOGETHER, num_parallel_calls=TOGETHER, deterministic=True
    )
    # One more, so that a request of no images is a batch too.
    count = tf.size(encoded, out_type=tf.int64)
    pixels, decoded = found.concatenate(refused).batch(count + 1).get_single_element()
    pixels = tf.ensure_shape(pixels[:-1], (None, *shape))
    return pixels, tf.ensure_shape(decoded[:-1], (None,))


def is_acceptable(encoded: tf.Tensor) -> tf.Tensor:
    """Tells whether the header is that of an image that the rule lets in; decodes no pixel."""

    def jpeg() -> tf.Tensor:
        return tf.image.extract_jpeg_shape(encoded)

    def png() -> tf.Tensor:
        return png_shape(encoded)

    def nothing() -> tf.Tensor:
        return tf.zeros(3, tf.int32)

    def png_or_nothing() -> tf.Tensor:
        return tf.cond(starts_with(encoded, PNG_START), png, nothing)

    shape = tf.cond(starts_with(encoded, JPEG_START), jpeg, png_or_nothing)
    height, width, colours = tf.unstack(shape, 3)
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    has_size = (height > 0) & (width > 0) & (pixels <= MAXIMUM_PIXELS)
    return has_size & is_one_of(colours, (1, 3))


def png_shape(encoded: tf.Tensor) -> tf.Tensor:
    """Returns height, width and colours of a PNG, by its header: [3] int32."""
    header = tf.strings.substr(encoded, 16, 8)
    size = tf.io.decode_raw(header, tf.int32, little_endian=False)
    size = tf.ensure_shape(size, [2])
    width, height = tf.unstack(size, 2)
    return tf.stack([height, width, 3])
