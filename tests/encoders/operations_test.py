"""A SavedModel whose graph reaches out of it is not loaded, unless it is trusted."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder, operations
from bct_keras.errors import InputError
from bct_keras.train import old_encoders

IMAGE = tf.TensorSpec((None, 28, 28, 3), tf.float32)


def saved(folder: Path, function: Any) -> Path:
    module: Any = tf.Module()
    module.serve = tf.function(
        lambda image: {"embedding": function(image)}, input_signature=[IMAGE]
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def colour(image):
    return tf.reduce_mean(image, [1, 2])


def writing(image, place: Path):
    tf.io.write_file(str(place), "x")
    return colour(image)


def hidden(image, place: Path):
    """Hides it in a function of a function, where it runs only if a condition holds."""
    inner = tf.function(
        lambda values: tf.cond(values[0, 0] > 1e9, lambda: writing(image, place), lambda: values)
    )
    return tf.function(lambda values: inner(values))(colour(image))


def printing(image, place: Path):
    tf.print("x", output_stream=f"file://{place}")
    return colour(image)


REACHING = {
    "WriteFile": writing,
    "WriteFile in a branch": hidden,
    "ReadFile": lambda image, place: (
        colour(image) + tf.cast(tf.strings.length(tf.io.read_file(str(place))), tf.float32)
    ),
    "MatchingFiles": lambda image, place: (
        colour(image) + tf.cast(tf.size(tf.io.matching_files(str(place))), tf.float32)
    ),
    "PyFunc": lambda image, place: tf.ensure_shape(
        tf.numpy_function(np.negative, [colour(image)], tf.float32), (None, 3)
    ),
    "EagerPyFunc": lambda image, place: tf.ensure_shape(
        tf.py_function(colour, [image], tf.float32), (None, 3)
    ),
    "PrintV2": printing,
    "RestoreV2": lambda image, place: (
        colour(image)
        + tf.raw_ops.RestoreV2(
            prefix=str(place), tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0]
    ),
}


@pytest.mark.parametrize("name", REACHING)
def test_a_graph_that_reaches_out_is_refused(tmp_path, name):
    path = saved(tmp_path / "old", lambda image: REACHING[name](image, tmp_path / "touched"))
    with pytest.raises(InputError) as error:
        load_encoder(path)
    first, second = str(error.value).splitlines()
    assert f"{path} is refused: its graph has the operation {name.partition(' ')[0]}" in first
    assert second == f"If you trust who made it, give it as saved_model({path}, trust=True)"
    assert not (tmp_path / "touched").exists()


def test_it_is_loaded_where_it_is_trusted_but_not_because_a_file_says_so(tmp_path, data_root):
    path = saved(tmp_path / "old", lambda image: writing(image, tmp_path / "touched"))
    encoder = load_encoder(f"saved_model({path}, trust=True)")
    encoder.embed(np.zeros((1, 28, 28, 3), np.uint8))
    assert (tmp_path / "touched").exists()  # else the refusal above would prove nothing
    data = open_data_set(data_root / "new")
    embed(encoder, data, tmp_path / "by-old")
    with pytest.raises(InputError, match="is refused: its graph has the operation WriteFile"):
        old_encoders.known(tmp_path / "by-old")
    with pytest.raises(InputError, match="give it yourself to trust it"):
        load_encoder(f"saved_model({path}, trust=True)", may_trust=False)


def test_an_initialiser_that_reaches_out_is_refused(tmp_path):
    """Makes one that would run while the model is loaded, before any image."""
    file = tmp_path / "words.txt"
    file.write_text("a\nb\n")
    module: Any = tf.Module()
    start = tf.lookup.TextFileInitializer(
        str(file),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module.table = tf.lookup.StaticHashTable(start, -1)
    module.serve = tf.function(
        lambda image: {
            "embedding": (
                colour(image) + tf.cast(module.table.lookup(tf.constant(["a"])), tf.float32)
            )
        },
        input_signature=[IMAGE],
    )
    tf.saved_model.save(module, str(tmp_path / "old"), signatures={"serving_default": module.serve})
    with pytest.raises(
        InputError, match="is refused: its graph has the operation InitializeTableFromTextFile"
    ):
        load_encoder(tmp_path / "old")


def test_an_operation_that_nobody_knows_is_refused(tmp_path):
    path = saved(tmp_path / "old", colour)
    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    function = model.meta_graphs[0].graph_def.library.function[0]
    function.node_def[0].op = "BringHarm"
    (path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="has the operation BringHarm"):
        load_encoder(path)


def test_what_networks_need_is_let_in(tmp_path):
    """Saves layers with state, random numbers, conditions and loops, as Keras and TensorFlow do."""
    image = keras.Input((28, 28, 3))
    features = keras.layers.Rescaling(1 / 255)(image)
    features = keras.layers.RandomFlip(seed=1)(features)
    features = keras.layers.Conv2D(4, 3)(features)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Dropout(0.5, seed=1)(keras.layers.PReLU()(features))
    features = keras.layers.LSTM(4)(keras.layers.Reshape((26, 26 * 4))(features))
    keras.Model(image, features).export(tmp_path / "keras", verbose=False)
    assert load_encoder(tmp_path / "keras").embed(np.zeros((2, 28, 28, 3), np.uint8)).shape == (
        2,
        4,
    )

    def loops(image):
        return tf.map_fn(
            lambda one: tf.reduce_mean(tf.image.random_brightness(one, 0.1), [0, 1]), image
        )

    assert load_encoder(saved(tmp_path / "loops", loops)).embed(
        np.zeros((2, 28, 28, 3), np.uint8)
    ).shape == (2, 3)


def test_canary_op_def_registry():
    """Looks for the private module that tells which operations have state."""
    known: Any = [op_def_registry.get(name) for name in ("WriteFile", "MatMul")]
    assert [operation.is_stateful for operation in known] == [True, False]
    assert op_def_registry.get("BringHarm") is None


def test_every_operation_that_opens_something_is_held_back():
    names = (
        "ReadFile WriteFile MatchingFiles PyFunc PyFuncStateless EagerPyFunc RpcCall SaveDataset"
        " SnapshotDatasetV2 TFRecordDatasetV2 TextLineDataset SqlDataset DebugIdentityV3"
        " DebugNumericSummaryV2 WholeFileReaderV2 RemoteCall CreateSummaryFileWriter"
        " WriteScalarSummary InitializeTableFromTextFileV2 LoadAndRemapMatrix PrintV2 ReaderReadV2"
        " GenerateVocabRemapping DecodeProtoV2 XlaLaunch XlaCustomCallV2 TPUPartitionedCall"
        " DistributedSave MergeV2Checkpoints DataServiceDatasetV4 FileSystemSetConfiguration"
        " DumpTensor ImportEvent LMDBReader DatasetToTFRecord Recv Send"
    )
    for name in names.split():
        assert op_def_registry.get(name) is not None, name
        assert not operations.allowed(name, {}, is_used=True), name
