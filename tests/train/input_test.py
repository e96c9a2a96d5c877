import shutil
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_recipe import small_recipe

from bct_keras import artefacts
from bct_keras.augmentations import AUGMENTATIONS
from bct_keras.data import embeddings
from bct_keras.data import records as image_records
from bct_keras.data.dataset import DataSet, ids_of, open_data_set
from bct_keras.data.embeddings import EmbeddingShards, field_path, open_embeddings
from bct_keras.errors import InputError
from bct_keras.train import input
from bct_keras.train.class_batches import ClassBatches, Classes
from bct_keras.train.input import training_batches

pytestmark = pytest.mark.seconds(16)

BATCH = 8
FIELDS = (*embeddings.FIELDS, "credible")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataSet:
    """120 records in five shards of unequal size; record n shows the number n and has the label n
    // 10.
    """
    folder = tmp_path_factory.mktemp("data")
    (folder / "shards").mkdir()
    entries = []
    for shard, numbers in enumerate(
        np.split(np.random.default_rng(0).permutation(120), [10, 35, 60, 100])
    ):
        frames = (
            image_records.framed(picture(number), number // 10, b"%d" % number)
            for number in numbers.tolist()
        )
        path = folder / f"shards/all-{shard:05d}.tfrecord"
        size, sha256 = image_records.write_frames(path, frames)
        entries.append(
            {
                "path": f"shards/{path.name}",
                "records": len(numbers),
                "bytes": size,
                "sha256": sha256,
            }
        )
    facts = {
        "classes": 12,
        "first_identity": 0,
        "image_size": 28,
        "same_size": True,
        "upright": True,
    }
    artefacts.write_manifest(folder, image_records.KIND, {}, shards=entries, **facts)
    return open_data_set(folder)


def picture(number: int) -> bytes:
    """A PNG whose left half has the colour `number` and whose right half is black."""
    pixels = np.zeros((28, 28, 3), np.uint8)
    pixels[:, :14] = number + 1
    return tf.io.encode_png(pixels).numpy()


@pytest.fixture(scope="module")
def old(data, tmp_path_factory) -> EmbeddingShards:
    """The old embedding of record n is [n, -n, 0.5]; those of even numbers are credible."""
    folder = tmp_path_factory.mktemp("by-old")
    marks = []
    for shard in data.shards:
        numbers = [int(name) for batch in data.batches(50, (shard,)) for name in ids_of(batch)]
        rows = np.array([[number, -number, 0.5] for number in numbers], np.float32)
        np.save(field_path(folder, shard, "old_embedding"), rows)
        np.save(field_path(folder, shard, "label"), np.array(numbers) // 10)
        marks += [number % 2 == 0 for number in numbers]
    files = {path.name: artefacts.file_sha256(path) for path in folder.glob("*.npy")}
    artefacts.write_manifest(
        folder, embeddings.KIND, {"data": data.fingerprint}, dims=3, files=files
    )
    np.save(folder / "credible.npy", np.array(marks, np.float32))
    return replace(open_embeddings(folder, data), of_all={"credible": folder / "credible.npy"})


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch):
    monkeypatch.setattr(input, "SHUFFLED_AT_ONCE", 50)
    monkeypatch.setattr(input, "SHARDS_AT_ONCE", 2)
    monkeypatch.setattr(embeddings, "ROWS_AT_ONCE", 4)


@pytest.fixture
def batches(data, old) -> Callable[..., list]:
    def make(
        seed=0,
        first_step=0,
        epochs=1,
        mirror=True,
        batch_size=BATCH,
        context=None,
        fields=FIELDS,
    ):
        made = training_batches(
            data, old, fields, batch_size, seed, first_step, epochs, mirror, context
        )
        return list(made.as_numpy_iterator())

    return make


def numbers(batch) -> np.ndarray:
    """The records of a batch, read off their pixels, mirrored or not."""
    return batch[0]["image"].max((1, 2, 3)).astype(np.int64) - 1


def assert_same(first: list, second: list) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_an_epoch_holds_every_record_once_beside_its_label_and_embedding(batches):
    made = batches()
    assert len(made) == 15
    for batch in made:
        fields, labels = batch
        found = numbers(batch)
        assert fields["image"].shape == (BATCH, 28, 28, 3)
        np.testing.assert_array_equal(labels, found // 10)
        np.testing.assert_array_equal(
            fields["old_embedding"], np.stack([found, -found, np.full(BATCH, 0.5)], 1)
        )
        np.testing.assert_array_equal(fields["credible"], found % 2 == 0)
    assert sorted(np.concatenate([numbers(batch) for batch in made]).tolist()) == list(range(120))


def test_a_batch_that_is_not_full_is_left_out(batches):
    made = batches(batch_size=50, epochs=2)
    assert [len(labels) for _, labels in made] == [50] * 4


def test_only_the_fields_asked_for_are_read(data, batches):
    assert batches(fields=())[0][0].keys() == {"image"}
    assert batches(fields=("credible",))[0][0].keys() == {"image", "credible"}
    without_old = training_batches(data, None, (), BATCH, 0, 0, 1, True)
    assert_same(
        [batch[1] for batch in without_old.as_numpy_iterator()], [batch[1] for batch in batches()]
    )


def test_the_order_is_a_function_of_seed_and_epoch(batches):
    three = batches(epochs=3)
    assert_same(three, batches(epochs=3))
    assert_same(three[15:30], batches(first_step=15, epochs=2))
    assert_same(three[30:], batches(first_step=30, epochs=3))
    assert_same(three[20:], batches(first_step=20, epochs=3))
    orders = [
        np.concatenate([numbers(batch) for batch in three[start : start + 15]]).tolist()
        for start in (0, 15, 30)
    ]
    other_seed = np.concatenate([numbers(batch) for batch in batches(seed=1)]).tolist()
    assert len({tuple(order) for order in [*orders, other_seed]}) == 4


@pytest.mark.parametrize("global_seed", [0, 7])
def test_the_order_does_not_depend_on_the_global_seed(batches, global_seed):
    expected = batches()
    tf.random.set_seed(global_seed)
    assert_same(batches(), expected)


@pytest.mark.parametrize("step", [0, 7, 20])
def test_the_records_of_a_step_are_named(data, batches, step):
    expected = [str(number) for number in numbers(batches(epochs=2)[step])]
    assert input.ids_of_step(data, BATCH, seed=0, step=step) == expected


def test_half_of_the_images_are_mirrored_another_half_each_epoch(batches):
    def mirrored(epoch: int) -> dict[int, bool]:
        found = {}
        for batch in batches(first_step=15 * epoch, epochs=epoch + 1):
            left, right = batch[0]["image"][:, 5, 3, 0], batch[0]["image"][:, 5, 24, 0]
            assert np.all((left == 0) != (right == 0))
            found.update(zip(numbers(batch).tolist(), (left == 0).tolist(), strict=True))
        return found

    first, second = mirrored(0), mirrored(1)
    for found in (first, second):
        assert 40 <= sum(found.values()) <= 80  # of 120: mean 60, standard deviation 5.5
    differing = sum(first[number] != second[number] for number in range(120))
    assert 40 <= differing <= 80


def test_without_mirroring_no_image_is(batches):
    for batch in batches(mirror=False):
        assert np.all(batch[0]["image"][:, :, 14:] == 0)


@pytest.mark.parametrize(("workers", "replicas"), [(1, 2), (2, 2), (2, 4), (4, 4)])
def test_workers_together_see_what_one_process_sees(batches, workers, replicas):
    expected = batches(epochs=2)
    share, per_worker = BATCH // replicas, replicas // workers
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, replicas)
        made = batches(epochs=2, context=context)
        assert len(made) == len(expected) * per_worker
        for index, batch in enumerate(made):
            step, replica = divmod(index, per_worker)
            first = share * (worker * per_worker + replica)
            rows = tf.nest.map_structure(
                lambda values, start=first: values[start : start + share], expected[step]
            )
            assert_same([batch], [rows])


def test_replicas_of_a_strategy_get_their_rows(data, old, batches, two_replicas):
    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return training_batches(data, old, FIELDS, BATCH, 0, 0, 1, True, context)

    expected = batches()
    made = list(two_replicas.distribute_datasets_from_function(make))
    assert len(made) == len(expected)
    for per_replica, whole in zip(made, expected, strict=True):
        for replica in range(2):
            own = tf.nest.map_structure(
                lambda values, replica=replica: two_replicas.experimental_local_results(values)[
                    replica
                ].numpy(),
                per_replica,
            )
            rows = tf.nest.map_structure(
                lambda values, replica=replica: values[4 * replica : 4 * replica + 4], whole
            )
            assert_same([own], [rows])


SEED = (3, 4)
OPERATIONS = {
    "shuffled": lambda seed: input.shuffled(20, seed),
    "mirrored_rows": lambda seed: input.mirrored_rows(20, True, seed),
    "fold_in": lambda seed: input.fold_in(seed, tf.constant(5, tf.int64)),
    "seed_of_epoch": lambda seed: input.seed_of_epoch(3, seed[0]),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_draws_are_the_same_eagerly_and_in_tf_data(operation):
    seed = tf.constant(SEED, tf.int64)
    (in_tf_data,) = tf.data.Dataset.from_tensors(seed).map(operation)
    np.testing.assert_array_equal(operation(seed), in_tf_data)


@pytest.mark.parametrize("upright", [True, False])
def test_decoding_is_the_same_eagerly_and_in_tf_data(data, upright):
    data = replace(data, upright=upright)  # where that is not known, each image is looked at
    serialized = next(iter(tf.data.TFRecordDataset(str(data.shards[1].path)).batch(6)))
    batch = {
        "record": serialized,
        "mirrored": tf.constant([True, False] * 3),
        "credible": tf.range(6),
    }
    eager = input.decoded(data, dict(batch))
    (in_tf_data,) = tf.data.Dataset.from_tensors(batch).map(
        lambda batch: input.decoded(data, dict(batch))
    )
    tf.nest.map_structure(np.testing.assert_array_equal, eager, in_tf_data)
    assert np.all(eager[0]["image"][::2, :, :14] == 0)
    assert np.all(eager[0]["image"][1::2, :, 14:] == 0)


@pytest.mark.parametrize(
    "mirrored", [[True] * 6, [False] * 6, [False, True, True, False, True, False]]
)
def test_images_keep_their_places_however_many_are_decoded_together(data, monkeypatch, mirrored):
    serialized = next(iter(tf.data.TFRecordDataset(str(data.shards[1].path)).batch(6)))
    encoded = data.parse(serialized)["image"]
    expected = []
    for image, is_mirrored in zip(encoded, mirrored, strict=True):
        pixels = data.decode(image).numpy()
        expected.append(pixels[:, ::-1] if is_mirrored else pixels)
    for together in (6, 2):
        monkeypatch.setattr(input, "DECODED_TOGETHER", together)
        monkeypatch.setattr(input, "TURNED_TOGETHER", together)
        encoded = tf.ensure_shape(encoded, [6])
        found = input.decoded_images(data, encoded, tf.constant(mirrored))
        np.testing.assert_array_equal(found, np.stack(expected))


def test_a_shuffled_order_holds_every_number_once():
    order = input.shuffled(1000, tf.constant(SEED, tf.int64)).numpy()
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != list(range(1000))


def test_a_folder_name_with_brackets_is_no_pattern(data, tmp_path):
    folder = tmp_path / "data[1]*"
    shutil.copytree(data.folder, folder)
    copied = open_data_set(folder)
    assert (
        sum(len(labels) for _, labels in training_batches(copied, None, (), BATCH, 0, 0, 1, True))
        == 120
    )


def test_augmented_images_depend_on_seed_and_step_alone(data, old):
    layers = [AUGMENTATIONS["colour"](), keras.Sequential([keras.layers.RandomRotation(0.2)])]

    def made(first_step: int, epochs: int) -> list:
        batches = training_batches(
            data,
            old,
            ("old_embedding",),
            BATCH,
            seed=0,
            first_step=first_step,
            epochs=epochs,
            mirror=False,
            augment=layers,
        )
        return list(batches.as_numpy_iterator())

    two = made(0, 2)
    assert_same(two[20:], made(20, 2))
    plain = list(
        training_batches(
            data, old, ("old_embedding",), BATCH, 0, first_step=0, epochs=1, mirror=False
        ).as_numpy_iterator()
    )
    for changed, as_it_is in zip(two[:15], plain, strict=True):
        np.testing.assert_array_equal(changed[1], as_it_is[1])
        np.testing.assert_array_equal(changed[0]["old_embedding"], as_it_is[0]["old_embedding"])
        assert changed[0]["image"].dtype == np.uint8
        assert np.any(changed[0]["image"] != as_it_is[0]["image"])


def test_augmentations_are_named_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_augmentations.py").write_text(
        "import keras\n"
        "class Grey(keras.layers.Layer):\n"
        "    pass\n"
        "def turned(factor: float) -> keras.layers.Layer:\n"
        "    return keras.layers.RandomRotation(factor)\n"
    )
    own = "own_augmentations:Grey, own_augmentations:turned(factor=0.1)"
    keras_own = "keras.layers:RandomZoom(height_factor=0.2)"
    recipe = small_recipe(augment=f"flip, crop(scale=0.7), colour, {own}, {keras_own}")
    kinds = [type(layer).__name__ for layer in recipe.build_augmentations()]
    assert kinds == ["Crop", "Colour", "Grey", "RandomRotation", "RandomZoom"]
    assert recipe.build_augmentations()[-1].seed == recipe.seed  # pyright: ignore


OWN = """
import keras, numpy as np, tensorflow as tf

class Brighter(keras.layers.Layer):
    def call(self, images, training=False):
        factor = keras.ops.where(tf.reduce_mean(images) > 100.0, 0.5, 2.0)
        return tf.image.adjust_brightness(images, 0.1) * factor if training else images

class Condition(keras.layers.Layer):
    def call(self, images):
        if tf.reduce_mean(images) > 100.0:
            return images * 0.5
        return images

class OfNumpy(keras.layers.Layer):
    def call(self, images):
        return images + np.asarray(images).mean()

class Smaller(keras.layers.Layer):
    def call(self, images):
        return images[:, :10]
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Brighter", ""),
        (
            "Condition",
            r"Condition cannot change images \(.*own_layers.py, line 11\): Using a symbolic"
            r"(.|\n)*\nIts call is traced once for all batches: in place of a Python `if` on a",
        ),
        ("OfNumpy", r"line 17\): Cannot convert a symbolic(.|\n)*of NumPy keras.ops"),
        (
            "Smaller",
            r"are \d+ and 10(.|\n)*It has to give as many images of the same size as it gets",
        ),
    ],
)
def test_a_layer_of_ones_own_is_tried_before_the_training(data, tmp_path, monkeypatch, name, said):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_layers.py").write_text(OWN)
    recipe = small_recipe(augment=f"own_layers:{name}")
    if said:
        with pytest.raises(InputError, match=said):
            recipe.check_data(data.records, data.classes, 1, data.image_size)
        return
    recipe.check_data(data.records, data.classes, 1, data.image_size)
    batches = training_batches(
        data, None, (), BATCH, 0, 0, 1, False, augment=recipe.build_augmentations()
    )
    assert next(iter(batches))[0]["image"].dtype == tf.uint8


def test_batches_by_identity(data, old):
    by_class = ClassBatches(
        data, 5, images=4, seed=0, old=old, fields=("old_embedding", "credible")
    )

    def made(first_step: int = 0, epochs: int = 5, context=None) -> list:
        batches = training_batches(
            data,
            old,
            by_class.fields,
            20,
            0,
            first_step,
            epochs,
            mirror=True,
            by_class=by_class,
            context=context,
        )
        return list(batches.as_numpy_iterator())

    all_batches = made()
    assert len(all_batches) == 5 * 6
    met, seen = np.zeros(12, int), set()
    for fields, labels in all_batches:
        found = numbers((fields, labels))
        np.testing.assert_array_equal(labels, found // 10)
        np.testing.assert_array_equal(fields["old_embedding"][:, 0], found)
        np.testing.assert_array_equal(fields["credible"], found % 2 == 0)
        identities, images = np.unique(labels, return_counts=True)
        assert (len(identities), set(images)) == (5, {4})
        assert len(set(found.tolist())) == 20  # no image twice: each identity has 10
        met[identities] += 1
        seen |= set(found.tolist())
    # 15 orders of 12 identities, of which two batches of 5 are taken: 12.5 in the mean
    assert met.sum() == 150
    assert met.min() >= 8
    assert len(seen) >= 115
    assert_same(all_batches[8:], made(first_step=8))
    expected = [str(number) for number in numbers(all_batches[7])]
    assert input.ids_of_step(data, 20, seed=0, step=7, by_class=by_class) == expected
    half = made(epochs=1, context=tf.distribute.InputContext(2, 1, 2))
    np.testing.assert_array_equal(half[3][1], all_batches[3][1][10:])


def test_an_identity_with_few_images_brings_some_twice(data):
    by_class = ClassBatches(data, identities=12, images=15, seed=0)
    records = by_class.records_of(0).reshape(12, 15)
    for row in records:
        _, times = np.unique(row, return_counts=True)
        assert sorted(times) == [1] * 5 + [2] * 5


def test_a_data_set_of_too_few_identities():
    asked = Classes(13, images=2)
    asked.check(26, classes=13)
    with pytest.raises(InputError, match=r"needs 13 identities for a batch, and the data set has"):
        asked.check(26, classes=12)
