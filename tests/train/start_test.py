"""What a training starts from: files, layers, pixels; frozen at first, at a rate of its own."""

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_recipe import small_recipe

import bct_keras
from bct_keras import specs
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.errors import InputError
from bct_keras.train import on_top
from bct_keras.train import start as starts
from bct_keras.train.trainer import Run, Watch

pytestmark = pytest.mark.seconds(14)

PAGE = Path(bct_keras.__file__).parent / "train/README.md"
MODULES = {  # of keras.applications
    "MobileNetV3Small": "mobilenet_v3",
    "EfficientNetB0": "efficientnet",
    "MobileNetV2": "mobilenet_v2",
    "ResNet50": "resnet",
    "DenseNet121": "densenet",
}
SIZE = 28
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def classifier(size: int | None = SIZE, scaled: bool = True, name: str = "mine") -> keras.Model:
    """Returns a network of 5 classes as they are trained: features, dropout, scores."""
    image = keras.Input((size, size, 3))
    pixels = layers.Rescaling(1 / 255, name="scaled")(image) if scaled else image
    features = layers.Conv2D(4, 3, strides=4, use_bias=False, name="filters")(pixels)
    features = layers.BatchNormalization(name="means")(features)
    features = layers.GlobalAveragePooling2D(name="pooled")(features)
    features = layers.Dropout(0.1, name="left_out")(features)
    scores = layers.Dense(5, activation="softmax", name="scores")(features)
    return keras.Model(image, scores, name=name)


def fresh() -> keras.Model:
    raise AssertionError("no random weights are needed")


def started(named: str, dims: int = 8, size: int = SIZE) -> starts.Started:
    return starts.found(named).build(size, dims, fresh)


def test_the_classifier_is_cut_off_and_a_new_layer_put_on_top(tmp_path):
    path = tmp_path / "net.keras"
    network = classifier()
    network.get_layer("filters").trainable = False  # is trained all the same
    network.save(path)
    made = started(str(path))
    assert made.said == (
        f"{path}: its classifier scores is cut off, layer left_out is taken, a new embedding layer "
        "of 8 on top, pixels as they are, channels rgb (it takes pixels as they are)"
    )
    pooled = keras.Model(network.inputs[0], network.get_layer("pooled").output)
    taken = keras.Model(made.backbone.inputs[0], made.backbone.get_layer("pooled").output)
    np.testing.assert_array_equal(taken(IMAGES), pooled(IMAGES))
    assert made.backbone.output_shape == (None, 8)
    names = [layer.name for layer in starts.taken_layers(made.backbone)]
    assert names[1:] == ["scaled", "filters", "means", "pooled", "left_out"]
    assert all(layer.trainable for layer in made.backbone.layers)


def test_an_output_of_the_right_width_stays_the_embedding(tmp_path):
    path = tmp_path / "net.keras"
    network = classifier()
    encoder = keras.Model(network.inputs[0], network.get_layer("pooled").output)
    encoder.save(path)
    made = started(str(path), dims=4)
    np.testing.assert_array_equal(made.backbone(IMAGES), encoder(IMAGES))
    assert "its last layer pooled is the embedding, pixels" in made.said
    assert not on_top.has_new_layer(made.backbone)


def test_pixels_are_brought_to_what_the_file_takes(tmp_path):
    path = tmp_path / "net.keras"
    network = classifier(size=None, scaled=False)  # of images of any size, as keras.applications
    network.save(path)
    made = started(f"keras({path}, layer=pooled, mean=(1, 2, 3), std=50, order=bgr)", dims=4)
    encoder = keras.Model(network.inputs[0], network.get_layer("pooled").output)
    expected = encoder((IMAGES[..., ::-1] - np.array([1, 2, 3], np.float32)) / 50)
    np.testing.assert_allclose(made.backbone(IMAGES), expected, atol=1e-6)
    assert [layer.name for layer in starts.taken_layers(made.backbone)] == ["start"]
    assert made.backbone.input_shape == (None, SIZE, SIZE, 3)


def test_a_start_of_a_start_has_each_layer_once(tmp_path):
    classifier().save(tmp_path / "net.keras")
    first = started(str(tmp_path / "net.keras")).backbone
    first.save(tmp_path / "first.keras")
    second = started(str(tmp_path / "first.keras"), dims=3).backbone
    assert second.output_shape == (None, 3)
    assert [layer.name for layer in starts.taken_layers(second)] == ["start"]
    assert on_top.has_new_layer(second)
    paths = [weight.path for weight in second.weights]  # by which optimizers know them
    assert len(set(paths)) == len(paths)
    second.save(tmp_path / "second.keras")
    third = started(str(tmp_path / "second.keras"), dims=4).backbone
    assert len({weight.path for weight in third.weights}) == len(third.weights)


def test_a_layer_that_is_called_as_the_whole_is_one_of_many(tmp_path):
    image = keras.Input((SIZE, SIZE, 3))
    pixels = layers.Rescaling(1 / 255, name="start")(image)
    filtered = layers.Conv2D(4, 3, name="filters")(pixels)
    keras.Model(image, layers.GlobalAveragePooling2D()(filtered)).save(tmp_path / "net.keras")
    taken = starts.taken_layers(started(str(tmp_path / "net.keras")).backbone)
    assert [weight.path for layer in taken for weight in layer.weights] == [
        "filters/kernel",
        "filters/bias",
    ]


def test_a_network_for_batches_of_one_size_takes_any(tmp_path):
    image = keras.Input((SIZE, SIZE, 3), batch_size=7)
    keras.Model(image, layers.Flatten()(layers.Rescaling(1 / 255)(image))).save(
        tmp_path / "net.keras"
    )
    made = started(str(tmp_path / "net.keras")).backbone
    assert made.output_shape == (None, 8)
    assert made(IMAGES).shape == (3, 8)


@pytest.mark.parametrize(
    ("top", "taken"),
    [
        (lambda x: layers.Dense(5, name="predictions")(x), "pooled"),
        (lambda x: layers.Softmax()(layers.Dense(5, name="last")(x)), "pooled"),
        (
            lambda x: layers.Activation("sigmoid")(
                layers.Flatten()(layers.Conv2D(5, 1)(layers.Reshape((1, 1, 4), name="square")(x)))
            ),
            "square",
        ),
        (lambda x: layers.Dense(6, name="embedding_of_mine")(x), "embedding_of_mine"),
    ],
    ids=["by name", "softmax behind it", "convolution", "none"],
)
def test_where_features_end(tmp_path, top, taken):
    network = classifier()
    pooled = network.get_layer("pooled").output
    keras.Model(network.inputs[0], top(pooled)).save(tmp_path / "net.keras")
    said = started(str(tmp_path / "net.keras")).said
    assert f"layer {taken} is" in said


def test_weights_alone_are_those_of_the_backbone(tmp_path):
    path = tmp_path / "net.weights.h5"
    backbone = classifier()
    backbone.save_weights(path)
    other = classifier()
    made = starts.found(str(path)).build(SIZE, 5, lambda: other)
    np.testing.assert_array_equal(made.backbone(IMAGES), backbone(IMAGES))
    narrow = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(InputError, match="does not hold the weights of backbone"):
        starts.found(str(path)).build(SIZE, 5, lambda: narrow)


def test_weights_that_are_larger_than_their_file_take_no_memory(tmp_path):
    path = tmp_path / "net.weights.h5"
    classifier().save_weights(path)
    with h5py.File(path, "a") as file:
        name = "layers/dense/vars/0"
        del file[name]
        file.create_dataset(name, shape=(1 << 20, 1 << 10), dtype="f4", chunks=(64, 64))  # none
    with pytest.raises(InputError, match=r"vars/0' is to have 4,294,967,296 bytes, and the file"):
        starts.found(str(path)).build(SIZE, 5, classifier)


def lambda_model() -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, layers.Lambda(lambda x: x[:, 0, 0])(image))


def two_inputs() -> keras.Model:
    one, other = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    return keras.Model([one, other], layers.Flatten()(layers.Add()([one, other])))


def of_rank_5() -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3))
    places = layers.Reshape((14, 2, 14, 6))(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, places)


def of_two_outputs() -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3))
    rows = layers.Reshape((SIZE, SIZE * 3))(layers.Rescaling(1 / 255)(image))
    last, _ = layers.GRU(2, return_state=True, name="states")(rows)
    return keras.Model(image, last)


@pytest.mark.parametrize(
    ("make", "spec", "said"),
    [
        (lambda: classifier(56), "{}", "takes images of 56 x 56 pixels, and those to train on"),
        (lambda: classifier(scaled=False), "{}", "does not say which pixels it takes, and here"),
        (
            lambda: classifier(scaled=False, name="mobilenetv2_1.00_224"),
            "{}",
            r"mobilenetv2_1.00_224 to mean=127.5, std=127.5(.|\n)*start='keras\(.*, mean=127.5,",
        ),
        (classifier, "keras({}, layer=nowhere)", "Name the layer that gives it, .*pooled"),
        (of_rank_5, "{}", r"that layer gives \[None, 14, 2, 14, 6\], which is neither"),
        (of_two_outputs, "keras({}, layer=states)", "that layer gives 2 outputs"),
        (classifier, "keras({}, std=0)", "std=0 would divide by zero"),
        (lambda_model, "{}", "cannot be loaded as a Keras encoder"),
        (two_inputs, "{}", "takes 2 inputs, and an encoder takes one image"),
    ],
    ids=["size", "pixels", "applications", "layer", "rank", "outputs", "std", "lambda", "inputs"],
)
def test_what_cannot_be_started_from_is_told(tmp_path, make, spec, said):
    path = tmp_path / "net.keras"
    make().save(path)
    with pytest.raises(InputError, match=said):
        started(spec.format(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.keras", "no such file or folder"),
        ("folder", "is no finished run"),
        ("net.h5", r"saved anew by model.save\('new.keras'\)"),
        ("keras(net.weights.h5, mean=1)", "weights alone has no layers to choose from"),
    ],
)
def test_what_is_nothing_to_start_from_is_told(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "net.h5").touch()
    (tmp_path / "net.weights.h5").touch()
    with pytest.raises(InputError, match=said):
        starts.found(name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frozen_epochs": 1}, "frozen_epochs=1 needs start"),
        ({"start": "{}", "start_rate": 0.0}, "start_rate=0.0 has to be above 0"),
        ({"batch": "classes(3, images=4)"}, "makes no batch of batch_size=8; give batch_size=12"),
        ({"batch": "small_recipe:SmallRecipe"}, "by random or classes alone, and by no class of"),
        ({"augment": "flip, spin"}, "unknown name 'spin' in 'spin'; known: colour, crop, flip"),
        ({"start": "{}", "precision": "mixed_bfloat16"}, "stay float32, as they were saved"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, changes, said):
    path = tmp_path / "net.keras"
    classifier().save(path)
    with pytest.raises(InputError, match=said):
        small_recipe(
            **{
                name: value.format(path) if isinstance(value, str) else value
                for name, value in changes.items()
            }
        )


@pytest.fixture(scope="module")
def data(data_root) -> DataSet:
    return open_data_set(data_root / "new")


class StoppedHereError(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    """As if the process had been killed within a step."""

    def __init__(self, step: int):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise StoppedHereError


def run(data: DataSet, folder: Path, **changes: Any) -> Run:
    return Run(
        recipe=small_recipe(epochs=3, optimizer="adamw", **changes),
        data=data,
        old=None,
        strategy=tf.distribute.get_strategy(),
        workdir=folder,
        watch=Watch(checkpoint_steps=2, checkpoints_kept=1, nan_limit=0, validation=None),
        say=print,
    )


@pytest.fixture
def net(tmp_path) -> str:
    classifier().save(tmp_path / "net.keras")
    return str(tmp_path / "net.keras")


def filters(folder: Path) -> np.ndarray:
    return keras.saving.load_model(folder / "encoder.keras").get_layer("filters").kernel.numpy()  # pyright: ignore


STEPS = 4  # 36 images in batches of 8


@pytest.mark.long
def test_frozen_layers_wait_and_a_killed_run_ends_as_an_unbroken_one(
    data, tmp_path, net, monkeypatch, capsys
):
    changes = {"start": net, "frozen_epochs": 2}
    run(data, tmp_path / "whole", **changes).train()
    assert "; it starts from" in capsys.readouterr().out

    before = classifier_filters(net)
    broken = run(data, tmp_path / "broken", **changes)
    resume = Run.resume

    def resume_to_be_stopped(self, stop_request):
        resume(self, stop_request)
        self.model.fit = with_stop(self.model.fit, StopAt(STEPS + 3))  # in the second epoch

    with monkeypatch.context() as patched:
        patched.setattr(Run, "resume", resume_to_be_stopped)
        with pytest.raises(StoppedHereError):
            broken.train()
    kernel = broken.model.backbone.get_layer("filters").kernel  # pyright: ignore
    np.testing.assert_array_equal(kernel, before)  # frozen all the while
    run(data, tmp_path / "broken", **changes).train()
    after = filters(tmp_path / "broken")
    np.testing.assert_array_equal(after, filters(tmp_path / "whole"))
    assert np.any(after != before)
    found = json.loads((tmp_path / "whole/manifest.json").read_text())["made_from"]
    assert len(found["start_sha256"]) == 64

    classifier().save(net)  # another file of that name
    with pytest.raises(InputError, match=r"made from something else .start_sha256"):
        run(data, tmp_path / "whole", **changes).train()


def classifier_filters(net: str) -> np.ndarray:
    return keras.saving.load_model(net).get_layer("filters").kernel.numpy()  # pyright: ignore


def with_stop(fit, stop: keras.callbacks.Callback):
    def stopped(*arguments, callbacks, **options):
        return fit(*arguments, callbacks=[*callbacks, stop], **options)

    return stopped


def test_what_is_taken_has_a_rate_of_its_own(data, net):
    recipe = small_recipe(start=net, start_rate=0.3)
    model = recipe.build_model(SIZE, data.classes, 100, recipe.build_method())
    optimizer: Any = model.optimizer
    assert optimizer.slowed_by == 0.3
    slowed = {weight.path for weight in model.trainable_variables if optimizer.is_slowed(weight)}
    assert slowed == {"filters/kernel", "means/gamma", "means/beta"}


def test_a_run_that_would_train_nothing_is_refused(data, tmp_path, net):
    with pytest.raises(InputError, match=r"would leave .* as it is, with no new layer on top"):
        run(
            data, tmp_path / "run", start=f"keras({net}, layer=pooled)", dims=4, frozen_epochs=3
        ).train()


def test_batches_of_more_identities_than_there_are_are_refused_before_anything_is_written(
    data, tmp_path
):
    batch = {"batch": "classes(8, images=1)"}
    with pytest.raises(InputError, match="needs 8 identities for a batch"):
        run(data, tmp_path / "run", **batch).train()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("MobileNetV3Small", ""),
        ("EfficientNetB0", ""),
        ("MobileNetV2", "mean=127.5, std=127.5"),
        ("ResNet50", "mean=(103.939, 116.779, 123.68), order=bgr"),
        ("DenseNet121", "mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)"),
    ],
)
def test_the_page_says_which_pixels_networks_of_keras_take(name, pixels):
    """Keras's own preprocessing is what the page and the error say."""
    of_keras = getattr(keras.applications, MODULES[name]).preprocess_input
    given = specs.build(starts.STARTS, f"keras(net.keras, {pixels})")
    order = {"rgb": 1, "bgr": -1}[given.order or "rgb"]
    mean, std = np.float32(given.mean or 0), np.float32(given.std or 1)
    scaled = (IMAGES[..., ::order] - mean) / std
    np.testing.assert_allclose(of_keras(IMAGES.astype(np.float32)), scaled, atol=1e-4)
    begins = [begin for begin in starts.PIXELS_OF if name.lower().startswith(begin)]
    assert [starts.PIXELS_OF[begin] for begin in begins[:1]] == ([pixels] if pixels else [])
    assert pixels in PAGE.read_text()


@keras.saving.register_keras_serializable("start_test")
class Places(layers.Layer):
    """A layer that cannot be made from its own configuration, as some of keras-hub."""

    def call(self, image):
        return keras.ops.reshape(image, (-1, SIZE, SIZE * 3))

    def get_config(self):
        return {**super().get_config(), "places": SIZE}


@keras.saving.register_keras_serializable("start_test")
class Whole(keras.Model):
    """A network that can be made from its configuration all the same."""

    def __init__(self, width: int = 8, **options: Any):
        image = keras.Input((SIZE, SIZE, 3))
        places = Places(name="places")(layers.Rescaling(1 / 255)(image))
        super().__init__(image, layers.GRU(width)(places), **options)
        self.width = width

    def get_config(self):
        return {"width": self.width, "name": self.name}


def test_a_network_that_can_be_made_again_only_as_a_whole_stays_whole(tmp_path):
    path = tmp_path / "net.keras"
    network = Whole()
    network.save(path)
    for dims in (8, 5):
        backbone = started(str(path), dims).backbone
        again = keras.models.clone_model(backbone)  # as the encoder is made at the end
        again.set_weights(backbone.get_weights())
        np.testing.assert_array_equal(again(IMAGES), backbone(IMAGES))
        assert network.name in {layer.name for layer in starts.taken_layers(backbone)}
    with pytest.raises(InputError, match=r"cannot be saved again after the training: .*Places"):
        started(f"keras({path}, layer=places)")
