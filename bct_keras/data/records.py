"""Image records as they lie in a shard, written without TensorFlow.

A record is a tf.train.Example in TFRecord's framing: its length, the bytes, and checksums of both.

The bytes are those of `SerializeToString(deterministic=True)` and `tf.io.TFRecordWriter`. To build
the messages and pass each record to TensorFlow takes longer than to read it; here all but three
fields comes from a table. That is why this writer is kept, beside TensorFlow's, and why `prepare`
and its processes start without TensorFlow.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import google_crc32c

# Fields of tf.train.Feature, each with a length: its first and its third.
BYTES_LIST = b"\x0a"
INT64_LIST = b"\x1a"
# Fields with a length: of a list, a map's entry, Features and Example.
FIELD_1 = b"\x0a"
FIELD_2 = b"\x12"
LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
# Bytes of images: few enough to be hashed while they are in the processor's cache.
WRITE_AT_ONCE = 1 << 18
PIECES_AT_ONCE = 1 << 12

KIND = "data set"  # in its manifest
NAMES = "names.json"  # what people call the identities, in the order of their labels
# What comes before the image, the image, and what comes after it.
Frame = tuple[bytes, bytes, bytes]


def encode_record(image: bytes, label: int, name: bytes) -> bytes:
    """Returns the tf.train.Example alone."""
    number = varint(label)
    _, before_id, before_image, before_label = around(len(image), len(name), len(number))
    pieces = (before_id, name, before_image, image, before_label, number)
    return b"".join(pieces)


def framed(image: bytes, label: int, name: bytes) -> Frame:
    """Returns the tf.train.Example between its length and checksums.

    The image, in the middle, is not copied.
    """
    number = varint(label)
    frame, before_id, before_image, before_label = around(len(image), len(name), len(number))
    before = before_id + name + before_image
    after = before_label + number
    checksum = google_crc32c.value(before)
    checksum = google_crc32c.extend(checksum, image)
    checksum = google_crc32c.extend(checksum, after)
    return frame + before, image, after + masked(checksum)


@lru_cache(maxsize=1 << 15)
def around(
    image_bytes: int, name_bytes: int, label_bytes: int
) -> tuple[bytes, bytes, bytes, bytes]:
    """Returns all that depends on lengths alone.

    That is the frame's start, and what comes before id, image and label.
    """
    before_id = before_value(b"id", BYTES_LIST, name_bytes)
    before_image = before_value(b"image", BYTES_LIST, image_bytes)
    before_label = before_value(b"label", INT64_LIST, label_bytes)
    between = len(before_id) + len(before_image) + len(before_label)
    features = between + name_bytes + image_bytes + label_bytes
    start = FIELD_1 + varint(features)
    length = LENGTH.pack(len(start) + features)
    frame = length + masked(google_crc32c.value(length))
    return frame, start + before_id, before_image, before_label


def before_value(key: bytes, kind: bytes, value_bytes: int) -> bytes:
    """Returns a map's entry of key and tf.train.Feature, up to its one value, which ends it."""
    values = FIELD_1 + varint(value_bytes)
    feature = kind + varint(len(values) + value_bytes) + values
    of_key = FIELD_1 + varint(len(key)) + key
    of_feature = FIELD_2 + varint(len(feature) + value_bytes) + feature
    entry = of_key + of_feature
    return FIELD_1 + varint(len(entry) + value_bytes) + entry


def varint(number: int) -> bytes:
    """Returns the number in seven bits a byte, the lowest first.

    A byte's top bit says that more follow.
    """
    if number < 0x80:
        return bytes((number,))
    lowest = number & 0x7F | 0x80
    if number < 0x4000:
        return bytes((lowest, number >> 7))
    return bytes((lowest,)) + varint(number >> 7)


def masked(checksum: int) -> bytes:
    """Returns the checksum as TFRecord stores it.

    It is rotated right by 15 bits and moved, so that a checksum of data that holds checksums is
    still one.
    """
    rotated = checksum >> 15 | checksum << 17
    return CHECKSUM.pack((rotated + 0xA282EAD8) & 0xFFFFFFFF)


def write_frames(path: Path, frames: Iterable[Frame]) -> tuple[int, str]:
    """Writes the records; returns the file's size and sha256."""
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for chunk in chunks(frames):
            digest.update(chunk)
            size += file.write(chunk)
    return size, digest.hexdigest()


def chunks(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Yields the records joined to pieces that are worth a call of the file system."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    for frame in frames:
        waiting += frame
        waiting_bytes += len(frame[1])
        if waiting_bytes >= WRITE_AT_ONCE or len(waiting) >= PIECES_AT_ONCE:
            yield b"".join(waiting)
            waiting = []
            waiting_bytes = 0
    yield b"".join(waiting)
