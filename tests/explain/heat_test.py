"""The heat of each explanation, on an encoder whose reasons are known and on a trained one."""

import keras
import numpy as np
import pytest

from bct_keras.backbones import BACKBONES
from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import Encoder, KerasEncoder, keras_file_encoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError
from bct_keras.explain import keras_maps
from bct_keras.explain.heat_maps import FOR_ANY, FOR_KERAS
from bct_keras.explain.looks import explanations
from bct_keras.explain.subject import Subject

SIZE, DIMS = 28, 8
SQUARES = ((3, 3), (3, 19), (19, 3))  # first row and column of the red, the green and the blue one
ALL = FOR_KERAS | FOR_ANY


def colour_encoder(path) -> KerasEncoder:
    """Tells how much red, green and blue there is: a feature map and a coordinate of each."""
    image = keras.Input((SIZE, SIZE, 3))
    colours = keras.layers.Conv2D(3, 4, 4, activation="relu", name="colours")(
        keras.layers.Rescaling(1 / 255)(image)
    )
    amounts = keras.layers.GlobalAveragePooling2D()(colours)
    model = keras.Model(image, keras.layers.Dense(DIMS, use_bias=False, name="amounts")(amounts))
    # of each colour what is more than the other two, over 4 x 4 pixels
    filters = np.broadcast_to((2 * np.eye(3) - 1) / 16, (4, 4, 3, 3))
    model.get_layer("colours").set_weights([filters.astype(np.float32), np.zeros(3, np.float32)])
    model.get_layer("amounts").set_weights([np.eye(3, DIMS, dtype=np.float32)])
    return KerasEncoder(path, model)


def coloured_squares() -> np.ndarray:
    """Returns [28, 28, 3] uint8: on grey a square of each colour, each in another quarter."""
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    for colour, (row, column) in enumerate(SQUARES):
        image[row : row + 6, column : column + 6] = 200 * np.eye(3, dtype=np.uint8)[colour]
    return image


def assert_points_at(heat: np.ndarray, row: int, column: int) -> None:
    """Asserts that much more of the heat lies in that quarter of the image than in any other.

    Of a constant map a quarter does.
    """
    assert heat.shape == (SIZE, SIZE)
    assert heat.min() >= 0
    assert heat.max() <= 1
    half = SIZE // 2
    shares = heat.reshape(2, half, 2, half).sum((1, 3)) / max(heat.sum(), 1e-12)
    assert shares[row // half, column // half] > 0.4
    assert shares.argmax() == 2 * (row // half) + column // half


@pytest.fixture
def subject(tmp_path) -> Subject:
    return Subject(colour_encoder(tmp_path / "colours.keras"), DIMS)


@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("colour", [0, 1, 2])
def test_heat_lies_where_the_match_comes_from(subject, name, colour):
    """One image matches three references, each by another of its squares."""
    reference = np.eye(3, DIMS, dtype=np.float32)[colour]
    assert_points_at(ALL[name](subject, coloured_squares(), reference), *SQUARES[colour])


def test_a_constant_map_points_nowhere():
    with pytest.raises(AssertionError):
        assert_points_at(np.ones((SIZE, SIZE)), 3, 3)
    with pytest.raises(AssertionError):
        assert_points_at(np.zeros((SIZE, SIZE)), 3, 3)


@pytest.fixture(scope="module")
def trained(data_root, tmp_path_factory) -> tuple[Subject, np.ndarray, np.ndarray]:
    """Returns a small encoder after some steps, and two images of each of 12 identities.

    The first are given as images, the second as embeddings.
    """
    keras.utils.set_random_seed(0)
    (batch,) = open_data_set(data_root).batches(72)
    images, labels = batch["image"].numpy(), batch["label"].numpy()
    backbone = BACKBONES["iresnet_small"](SIZE, 16, width=8)
    classifier = keras.Sequential([backbone, keras.layers.Dense(12)])
    classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    classifier.fit(images, labels, batch_size=24, epochs=6, verbose=0)  # pyright: ignore[reportArgumentType]
    first, second = (
        [np.flatnonzero(labels == label)[place] for label in range(12)] for place in (0, 1)
    )
    encoder = KerasEncoder(tmp_path_factory.mktemp("trained") / "encoder.keras", backbone)
    return Subject(encoder, 16), images[first], normalised(encoder.embed(images[second]))


@pytest.mark.parametrize("name", list(ALL))
def test_heat_of_a_trained_encoder_is_not_uniform_and_differs_between_identities(trained, name):
    subject, images, references = trained
    found = [
        ALL[name](subject, image, reference)
        for image, reference in zip(images[:4], references, strict=False)
    ]
    assert_differ(found)


def assert_differ(found: list[np.ndarray]) -> None:
    for number, heat in enumerate(found):
        assert heat.max() > 0.9
        assert heat.std() > 0.05
        for other in found[:number]:
            assert np.abs(heat - other).max() > 0.2


def test_constant_maps_do_not_differ():
    with pytest.raises(AssertionError):
        assert_differ([np.ones((SIZE, SIZE))] * 4)
    with pytest.raises(AssertionError):
        assert_differ([np.eye(SIZE)] * 4)


def test_cosine_of_the_model_is_that_of_the_encoder(trained):
    """The first coordinates alone are compared here."""
    whole, images, _ = trained
    subject = Subject(whole.encoder, 6)
    reference = normalised(np.arange(1.0, 7.0, dtype=np.float32)[None])[0]
    expected = subject.cosines(images, reference)
    # cos = sum of e_i r_i, e being the first 6 coordinates at length 1
    embedding = whole.encoder.embed(images)[:, :6]
    np.testing.assert_allclose(
        expected, embedding @ reference / np.linalg.norm(embedding, axis=1), atol=1e-6
    )
    found = keras_maps.cosine_to(reference)(subject.model([images.astype(np.float32)]))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_encoder_in_16_bits_gives_the_heat_of_the_same_in_32(tmp_path):
    whole = Subject(colour_encoder(tmp_path / "float32.keras"), DIMS)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = Subject(colour_encoder(tmp_path / "bfloat16.keras"), DIMS)
    finally:
        keras.config.set_dtype_policy("float32")
    for explain in FOR_KERAS.values():
        expected, found = (
            explain(each, coloured_squares(), np.eye(DIMS, dtype=np.float32)[1])
            for each in (whole, half)
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_layer_is_the_deepest_activated_one_that_is_not_too_coarse(trained):
    # 28 pixels: the stem's stride 2 and that of the first block give 14 and 7; those behind are
    # 4 x 4.
    assert trained[0].facts() == {"layer": trained[0].layer.name, "grid": "7 x 7"}
    assert isinstance(trained[0].layer, keras.layers.PReLU)


class FileEncoder(Encoder):
    """No Keras model: embeddings are all that it gives."""

    def __init__(self, path, encoder: KerasEncoder):
        super().__init__(path, encoder.image_size, encoder.dims)
        self.encoder = encoder

    def embed(self, images: np.ndarray) -> np.ndarray:
        return self.encoder.embed(images)


def test_an_encoder_without_gradients_has_occlusion_alone(tmp_path):
    subject = Subject(
        FileEncoder(tmp_path / "old.tflite", colour_encoder(tmp_path / "colours.keras")), DIMS
    )
    assert list(explanations(subject)) == ["Occlusion"]
    assert subject.facts() == {"layer": None, "grid": None}


def test_a_keras_encoder_without_convolutions_has_occlusion_alone(tmp_path):
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, keras.layers.Dense(DIMS)(keras.layers.Flatten()(image)))
    assert list(explanations(Subject(KerasEncoder(tmp_path / "dense.keras", model), DIMS))) == [
        "Occlusion"
    ]


def test_stored_embeddings_are_refused(tmp_path):
    path = tmp_path / "old.npz"
    np.savez(path, embeddings=np.eye(4), ids=np.array(["a/1", "a/2", "b/1", "b/2"]))
    with pytest.raises(
        InputError, match=r"old\.npz holds stored embeddings: there is no encoder to ask"
    ):
        Subject(StoredEmbeddings(path), 4)


def test_a_model_of_another_process_may_have_taken_the_names_of_operations(tmp_path):
    keras.backend.clear_session()  # names are numbered from the start, as in a new process
    BACKBONES["iresnet_small"](28, DIMS, width=4).save(tmp_path / "encoder.keras")  # it has slices
    keras.backend.clear_session()
    subject = Subject(keras_file_encoder(tmp_path / "encoder.keras", {}), DIMS)
    (embedding,) = subject.model.predict(np.full((1, 28, 28, 3), 99, np.uint8))
    assert embedding.shape == (DIMS + 1,)
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    assert embedding[-1] == 0.0
