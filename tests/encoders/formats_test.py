"""Loads old encoders of every format.

There are files made for a fixed batch, ONNX with images or colours last, stored embeddings.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import child, load_encoder
from bct_keras.errors import InputError

SIZE, DIMS = 28, 3
MATRIX = np.array(
    [[1, 2, 0], [0, -1, 3], [5, 0, 1]], np.float32
)  # embedding = the mean colour through it


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def expected(of: np.ndarray) -> np.ndarray:
    return of.mean((1, 2)) @ MATRIX


def write_tflite(path: Path, batch: int | None) -> None:
    @tf.function(input_signature=[tf.TensorSpec((batch, SIZE, SIZE, 3), tf.float32)])
    def run(image):
        colour = tf.reduce_mean(image, axis=[1, 2])
        # The batch is part of the graph, as converters leave it.
        return tf.matmul(tf.reshape(colour, [batch or -1, 3]), MATRIX)

    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], module
    )
    path.write_bytes(converter.convert())


def write_onnx(path: Path, batch: int | None, colours_first: bool) -> None:
    shape = [batch, 3, SIZE, SIZE] if colours_first else [batch, SIZE, SIZE, 3]
    axes = numpy_helper.from_array(np.array([2, 3] if colours_first else [1, 2], np.int64), "axes")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "matrix"], ["embedding"]),
        ],
        "mean_colour",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, DIMS])],
        [axes, numpy_helper.from_array(MATRIX, "matrix")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_a_tflite_file_made_for_one_batch_size_embeds_any_number(tmp_path, batch):
    write_tflite(tmp_path / "old.tflite", batch)
    encoder = load_encoder(tmp_path / "old.tflite")
    assert (encoder.image_size, encoder.dims) == (SIZE, DIMS)
    for count in (1, 2, 5):
        np.testing.assert_allclose(encoder.embed(images(count)), expected(images(count)), rtol=1e-4)


def test_batches_of_one_size_run_on_every_core_and_give_the_same_bits(tmp_path, monkeypatch):
    write_tflite(tmp_path / "old.tflite", 2)
    path = str(tmp_path / "old.tflite")
    given = images(14).astype(np.float32)
    alone = child.TFLite(path)
    (whole,) = zip(*[alone.run(given[first : first + 2]) for first in range(0, 14, 2)], strict=True)
    monkeypatch.setattr(child.os, "sched_getaffinity", lambda _: range(3))
    divided = child.TFLite(path)
    (found,) = divided.run(given)
    assert len(divided.others) == 2
    np.testing.assert_array_equal(found, np.concatenate(whole))


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("colours_first", [True, False])
def test_an_onnx_file_embeds(tmp_path, batch, colours_first):
    write_onnx(tmp_path / "old.onnx", batch, colours_first)
    encoder = load_encoder(tmp_path / "old.onnx")
    assert (encoder.image_size, encoder.dims) == (SIZE, DIMS)
    for count in (1, 5):
        np.testing.assert_allclose(encoder.embed(images(count)), expected(images(count)), rtol=1e-4)


def test_a_damaged_onnx_file_is_told_in_a_line(tmp_path):
    (tmp_path / "old.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"old\.onnx cannot be loaded as an ONNX encoder: [^\n]+$"):
        load_encoder(tmp_path / "old.onnx")


@pytest.fixture
def stored(data_root, tmp_path):
    """Stores all ids of a data set in reverse order, each with its own embedding."""
    data = open_data_set(data_root / "new")
    ids = [name.decode() for batch in data.batches(100) for name in batch["id"].numpy()]
    rows = np.random.default_rng(1).normal(size=(len(ids), DIMS)).astype(np.float32)
    return data, ids, rows, tmp_path / "stored.npz"


def test_stored_embeddings_find_their_images_by_id(stored, tmp_path):
    data, ids, rows, path = stored
    np.savez(path, embeddings=rows[::-1], ids=ids[::-1])
    embed(load_encoder(path), data, tmp_path / "embedded")
    found = np.concatenate(
        [np.load(tmp_path / "embedded" / f"{s.name}.old_embedding.npy") for s in data.shards]
    )
    np.testing.assert_array_equal(found, rows)


def test_stored_embeddings_that_lack_an_image_are_refused(stored, tmp_path):
    data, ids, rows, path = stored
    np.savez(path, embeddings=rows[1:], ids=ids[1:])
    with pytest.raises(InputError, match=f"has no embedding for {ids[0]} of "):
        embed(load_encoder(path), data, tmp_path / "embedded")
    assert not (tmp_path / "embedded").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"embeddings": np.ones((2, 3))}, "ids"),
        ({"embeddings": np.ones((2, 3)), "ids": ["a"]}, "one for each row"),
        ({"embeddings": np.ones(2), "ids": ["a", "b"]}, r"\[n, dims\]"),
        ({"embeddings": np.ones((2, 3)), "ids": ["a", "a"]}, "twice"),
        ({"embeddings": np.ones((2, 3)), "ids": np.array([{}, {}], object)}, "cannot be read"),
    ],
    ids=["no ids", "too few", "flat", "twice", "pickled"],
)
def test_stored_embeddings_are_checked(tmp_path, content, said):
    np.savez(tmp_path / "stored.npz", **content)
    with pytest.raises(InputError, match=said):
        load_encoder(tmp_path / "stored.npz")
