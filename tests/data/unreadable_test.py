"""An image whose header is whole and whose pixels are not: `prepare` takes it from RecordIO,
TensorFlow refuses it.
"""

import json
import re

import pytest
import tensorflow as tf

from bct_keras.data import unreadable
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.images_by_id import ImagesById
from bct_keras.data.shards import stored_records
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.errors import BadImageError, InputError
from bct_keras.prepare.run import prepare
from bct_keras.train import failures
from bct_keras.train.input import training_batches

DAMAGED = "train.rec/3"


def without_huffman_table(jpeg: bytes) -> bytes:
    table = jpeg.index(b"\xff\xc4") + 5
    return jpeg[:table] + b"\xff" * 16 + jpeg[table + 16 :]


@pytest.fixture
def faces(tmp_path, write_recordio, small_jpeg):
    images = [small_jpeg(number) for number in range(6)]
    images[3] = without_huffman_table(images[3])
    write_recordio(
        tmp_path / "faces", [((float(number // 2),), image) for number, image in enumerate(images)]
    )
    return tmp_path / "faces"


@pytest.fixture
def data(faces, tmp_path) -> DataSet:
    prepare(f"recordio({faces})", "none", tmp_path / "data")
    return open_data_set(tmp_path / "data")


def place_of(data: DataSet, ident: str) -> str:
    (shard,) = data.shards
    (offset,) = (
        stored.offset
        for stored in stored_records(shard.path)
        if not isinstance(stored, BadImageError) and stored.id == ident
    )
    return re.escape(
        f"{shard.path}, record at byte {offset} ({ident}): the image cannot be decoded ("
    )


def test_embed_names_the_image(data, tiny_encoder_path, tmp_path):
    said = (
        place_of(data, DAMAGED)
        + r"jpeg::Uncompress failed\..*[^.]\); run prepare again without it: .*decode=True"
    )
    with pytest.raises(InputError, match=said) as raised:
        embed(load_encoder(tiny_encoder_path(4)), data, tmp_path / "by-old")
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "by-old").exists()


def test_training_names_the_image(data, tmp_path):
    with (
        pytest.raises(InputError, match=place_of(data, DAMAGED)),
        failures.told(tmp_path, data, tf.distribute.get_strategy(), lambda: ""),
    ):
        list(training_batches(data, None, (), 6, seed=0, first_step=0, epochs=1, mirror=False))


def test_reading_by_id_names_the_image(data):
    with pytest.raises(InputError, match=place_of(data, DAMAGED)):
        ImagesById(data, 16).read([DAMAGED])


def test_an_image_that_pillow_reads_and_tensorflow_refuses_is_named(
    data_root, tmp_path, write_recordio, small_jpeg
):
    write_recordio(
        tmp_path / "small", [((float(number),), small_jpeg(number)) for number in range(2)]
    )
    prepare(f"recordio({tmp_path / 'small'}, image_size=28)", "none", tmp_path / "data")
    manifest = tmp_path / "data/manifest.json"
    manifest.write_text(
        json.dumps(json.loads(manifest.read_text()) | {"same_size": True})
    )  # 16 pixels, not 28
    data = open_data_set(tmp_path / "data")
    with (
        pytest.raises(
            InputError,
            match=r"record at byte 0 \(train\.rec/.\): the image cannot be decoded \(.*16",
        ),
        unreadable.named(data),
    ):
        list(data.batches(2))


def test_an_error_without_a_bad_image_stays_as_it_is(data_root):
    with (
        pytest.raises(tf.errors.InternalError, match="something else"),
        unreadable.named(open_data_set(data_root)),
    ):
        raise tf.errors.InternalError(None, None, "something else")


def test_prepare_finds_it_where_it_is_to_decode(faces, tmp_path):
    source = f"recordio({faces}, decode=True)"
    with pytest.raises(
        InputError, match=rf"{DAMAGED}: the image cannot be decoded \(.*\n.*on_bad=skip"
    ):
        prepare(source, "none", tmp_path / "data")
    assert "5 images of 3 identities\n1 images left out" in prepare(
        source, "none", tmp_path / "data", on_bad="skip"
    )
