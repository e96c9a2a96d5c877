import hashlib
import random

import pytest
import tensorflow as tf

from bct_keras.data import records
from bct_keras.data.dataset import RECORD_FEATURES

# Where a varint grows by a byte: 2**7, 2**14, 2**21; a message's length also passes them a few
# bytes earlier.
SIZES = [0, 1, 60, 90, 100, 110, *range(118, 130), 5000, *range(16_340, 16_390), 70_000, 2_097_152]
LABELS = [0, 1, 127, 128, 16_383, 16_384, 93_430, 2**31, 2**63 - 1]
NAMES = [b"", b"a", "größe/ß.jpg".encode(), b"x" * 127, b"y" * 128]


def by_tensorflow(image: bytes, label: int, name: bytes) -> bytes:
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_record_is_what_tensorflow_serializes(size):
    image = random.Random(size).randbytes(size)
    for label in LABELS:
        for name in NAMES:
            assert records.encode_record(image, label, name) == by_tensorflow(image, label, name)


def test_a_shard_is_what_tensorflow_writes(tmp_path):
    draw = random.Random(1)
    made = [
        (draw.randbytes(draw.choice(SIZES[:-1])), draw.choice(LABELS), draw.choice(NAMES))
        for _ in range(500)
    ]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in made:
            writer.write(by_tensorflow(*record))
    size, sha256 = records.write_frames(
        tmp_path / "ours", (records.framed(*record) for record in made)
    )
    content = (tmp_path / "ours").read_bytes()
    assert content == (tmp_path / "theirs").read_bytes()
    assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_tensorflow_reads_a_shard(tmp_path):
    made = [
        (bytes([number]) * 300, number * 1000, f"id-{number}".encode()) for number in range(200)
    ]
    records.write_frames(tmp_path / "shard", (records.framed(*record) for record in made))
    for found, (image, label, name) in zip(
        tf.data.TFRecordDataset(str(tmp_path / "shard")), made, strict=True
    ):
        record = tf.io.parse_single_example(found, RECORD_FEATURES)
        assert (record["image"].numpy(), record["label"].numpy(), record["id"].numpy()) == (
            image,
            label,
            name,
        )


def test_no_records_make_an_empty_file(tmp_path):
    assert records.write_frames(tmp_path / "shard", []) == (0, hashlib.sha256().hexdigest())
