"""Image records as they lie in a shard: tf.train.Example in TFRecord's framing, made without
TensorFlow.

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

BYTES_LIST, INT64_LIST = (
    b"\x0a",
    b"\x1a",
)  # field 1 and field 3 of tf.train.Feature, each with a length
FIELD_1, FIELD_2 = (
    b"\x0a",
    b"\x12",
)  # fields with a length: of a list, a map's entry, Features and Example
LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
WRITE_AT_ONCE = (
    1 << 18
)  # bytes of images: few enough to be hashed while they are in the processor's cache
PIECES_AT_ONCE = 1 << 12

KIND = "data set"  # in its manifest
Frame = tuple[
    bytes, bytes, bytes
]  # what comes before the image, the image, and what comes after it


def encode_record(image: bytes, label: int, name: bytes) -> bytes:
    """The tf.train.Example alone."""
    number = varint(label)
    _, before_id, before_image, before_label = around(len(image), len(name), len(number))
    return b"".join((before_id, name, before_image, image, before_label, number))


def framed(image: bytes, label: int, name: bytes) -> Frame:
    """The same between its length and checksums; the image, in the middle, is not copied."""
    number = varint(label)
    frame, before_id, before_image, before_label = around(len(image), len(name), len(number))
    before = before_id + name + before_image
    after = before_label + number
    checksum = google_crc32c.extend(google_crc32c.extend(google_crc32c.value(before), image), after)
    return frame + before, image, after + masked(checksum)


@lru_cache(maxsize=1 << 15)
def around(
    image_bytes: int, name_bytes: int, label_bytes: int
) -> tuple[bytes, bytes, bytes, bytes]:
    """All that depends on lengths alone: the frame's start, and what comes before id, image and
    label.
    """
    before_id = before_value(b"id", BYTES_LIST, name_bytes)
    before_image = before_value(b"image", BYTES_LIST, image_bytes)
    before_label = before_value(b"label", INT64_LIST, label_bytes)
    features = (
        sum(map(len, (before_id, before_image, before_label)))
        + name_bytes
        + image_bytes
        + label_bytes
    )
    start = FIELD_1 + varint(features)
    length = LENGTH.pack(len(start) + features)
    return (
        length + masked(google_crc32c.value(length)),
        start + before_id,
        before_image,
        before_label,
    )


def before_value(key: bytes, kind: bytes, value_bytes: int) -> bytes:
    """A map's entry of key and tf.train.Feature, up to its one value, which ends it."""
    values = FIELD_1 + varint(value_bytes)
    feature = kind + varint(len(values) + value_bytes) + values
    entry = (
        FIELD_1 + varint(len(key)) + key + FIELD_2 + varint(len(feature) + value_bytes) + feature
    )
    return FIELD_1 + varint(len(entry) + value_bytes) + entry


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    return bytes((number & 0x7F | 0x80,)) + varint(number >> 7)


def masked(checksum: int) -> bytes:
    # rotated right by 15 bits and moved, so that a checksum of data that holds checksums is still
    # one
    return CHECKSUM.pack(((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_frames(path: Path, frames: Iterable[Frame]) -> tuple[int, str]:
    """The file's size and sha256."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks(frames):
            digest.update(chunk)
            size += file.write(chunk)
    return size, digest.hexdigest()


def chunks(frames: Iterable[Frame]) -> Iterator[bytes]:
    waiting, waiting_bytes = [], 0
    for frame in frames:
        waiting += frame
        waiting_bytes += len(frame[1])
        if waiting_bytes >= WRITE_AT_ONCE or len(waiting) >= PIECES_AT_ONCE:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
    yield b"".join(waiting)
