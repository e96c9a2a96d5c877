"""What the library takes and refuses where a Keras user is likely to slip, in plain lines."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import bct_keras as bct

ROOT = Path(__file__).parents[1]
LABELS = np.arange(12) % 3
IMAGES = np.zeros((12, 8, 8, 3), np.uint8)
OLD = bct.OldEmbeddings(np.random.default_rng(0).normal(size=(12, 4)), LABELS)


def backbone() -> keras.Model:
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(image)))


def compiled() -> bct.CompatibleModel:
    model = bct.CompatibleModel(backbone(), bct.heads.ArcFace(3), bct.methods.MixBCT())
    model.compile(optimizer="adamw", old=OLD)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    compiled().save(folder / "model.keras")
    adapter = bct.adapters.fit("linear", OLD.embeddings, OLD.embeddings, LABELS)
    adapter.save(folder / "adapter.keras")
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "import bct_keras, keras",
        pytest.param("import keras, bct_keras", marks=pytest.mark.long),
        pytest.param("import tensorflow, bct_keras, keras", marks=pytest.mark.long),
    ],
)
def test_a_saved_model_is_loaded_where_the_package_is_imported(saved, imports):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); {imports}; "
        "print(type(keras.saving.load_model('model.keras')).__name__, "
        "type(keras.saving.load_model('adapter.keras')).__name__)"
    )
    # A process of its own: this one has used every public name.
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=saved, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["CompatibleModel", "Linear"]


def test_an_array_of_images_is_a_data_set_of_them():
    as_array = OLD.with_images(IMAGES)
    as_data_set = OLD.with_images(tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)))
    assert as_array.element_spec == as_data_set.element_spec
    for ours, theirs in zip(as_array, as_data_set, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES[:5], "there are 5 images and 12 old embeddings"),
        (IMAGES[0], r"an array of numbers \[n, height, width, channels\]; this one is \[8, 8, 3\]"),
        (["a.jpg"] * 12, r"this one is \[12\] of <U5"),
    ],
)
def test_arrays_that_are_no_images_of_these_embeddings_are_refused(images, said):
    with pytest.raises(bct.InputError, match=said):
        OLD.with_images(images)


def test_a_data_set_that_is_not_in_batches_is_refused():
    with pytest.raises(bct.InputError, match="one image at a time; call batch"):
        compiled().fit(OLD.with_images(IMAGES), verbose=0)


def test_old_embeddings_of_other_dimensions_than_compiled_are_refused():
    narrow = bct.OldEmbeddings(np.random.default_rng(0).normal(size=(12, 2)), LABELS)
    with pytest.raises(bct.InputError, match="have 2 dimensions, and the model was compiled with"):
        compiled().fit(narrow.with_images(IMAGES).batch(4), verbose=0)


@pytest.mark.parametrize(
    ("head", "method", "said"),
    [
        (bct.heads.ArcFace(3), bct.methods.L2, r"MixBCT\(\), and it is the class L2"),
        (bct.heads.CosFace, bct.methods.L2(), "the head has to be .* and it is the class CosFace"),
        ("cosface", bct.methods.L2(), "the head has to be .* and it is a str"),
        (bct.methods.L2(), bct.heads.ArcFace(3), "the head has to be .* and it is a L2"),
    ],
)
def test_parts_that_are_no_objects_of_their_kind_are_refused(head, method, said):
    with pytest.raises(bct.InputError, match=said):
        bct.CompatibleModel(backbone(), head, method)
