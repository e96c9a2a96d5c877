"""The parts that are counted, against the variables of a real model; activations and logits against
arithmetic.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
from small_recipe import small_recipe

from bct_keras.train import memory

CLASSES = 50
RECIPE = small_recipe(method="mixbct", learning_rate=0.1, batch_size=24, epochs=12, mirror=True)


def nbytes(variables) -> int:
    return sum(np.asarray(variable.numpy()).nbytes for variable in variables)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"optimizer": "adamw", "average": 0.9},
        {"optimizer": "lamb", "head": "softmax", "method": "independent"},
        {"head": "subcenter_arcface(centres=3)", "method": "bct"},
        {"method": "nccl(queue=16, beta=0.01)"},
        {"method": "advbct"},
        {"method": "unibct"},
        {"method": "lwf"},
        {"precision": "mixed_float16"},
    ],
    ids=str,
)
def test_what_is_counted_for_few_classes_is_what_a_model_of_more_has(changed):
    recipe = replace(RECIPE, **changed)
    found = memory.estimated(recipe, CLASSES, image_size=28, replicas=1)
    model = memory.built(recipe, CLASSES, image_size=28)
    assert found.counted == {
        "weights of the backbone": nbytes(model.backbone.variables),
        "weights of the head": nbytes(model.head.variables),
        "state of the method": nbytes(model.method.variables),
        "average of the weights": nbytes(model.averaging.averages),
        "gradients": nbytes(model.trainable_variables),
        "slots of the optimizer": nbytes(model.optimizer.variables),
    }
    assert found.counted["weights of the head"] >= CLASSES * 8 * 4


def test_the_queue_of_nccl():
    method = memory.built(
        replace(RECIPE, method="nccl(queue=16, beta=0.01)"), CLASSES, image_size=28
    ).method
    # 16 places of an old embedding of 8, a logit for each class, and a label, 4 bytes each; and the
    # next place
    assert memory.bytes_of(method.variables) == 16 * (8 + CLASSES + 1) * 4 + 4
    method = memory.built(replace(RECIPE, method="nccl(queue=16)"), CLASSES, image_size=28).method
    assert memory.bytes_of(method.variables) == 16 * (8 + 1) * 4 + 4  # no logits


@pytest.mark.parametrize("sharded", [False, True])
def test_a_head_that_samples_or_is_divided_has_its_rows_in_a_table(sharded):
    recipe = replace(RECIPE, head=f"arcface(sample_rate=0.5, sharded={sharded})", batch_size=8)
    found = memory.estimated(recipe, 48, image_size=28, replicas=2)
    model = memory.built(recipe, 48, image_size=28)
    of_table = 48 * 8 * 4 / (2 if sharded else 1)  # half of the classes on each of two devices
    assert found.counted["weights of the head"] == of_table
    # half of the classes are seen in a step
    assert found.counted["gradients"] == nbytes(model.trainable_variables) + of_table / 2
    # one momentum for every row
    assert found.counted["slots of the optimizer"] == nbytes(model.optimizer.variables) + of_table
    # 4 rows a device, or all 8 where classes are divided, by half of the classes there
    columns, rows = (12, 8) if sharded else (24, 4)
    assert found.logits == 3 * 4 * rows * columns


def test_activations_are_the_outputs_of_all_layers():
    image = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(2, 3)(image)  # [2, 2, 2]
    inner_input = keras.Input((2, 2, 2))
    inner = keras.Model(inner_input, keras.layers.ReLU()(inner_input))
    features = keras.layers.Flatten()(inner(features))  # the model's own layer: 8, and 8
    model = keras.Model(image, keras.layers.Dense(5, dtype="mixed_float16")(features))
    # 8 + 8 + 8 numbers of 4 bytes and 5 of 2 bytes, for each of 10 images
    assert memory.activations(model, rows=10) == 10 * ((8 + 8 + 8) * 4 + 5 * 2)


def test_activations_of_a_network_for_images_of_any_size_are_those_of_the_images():
    image = keras.Input((4, 4, 3))
    any_size = keras.Input((None, None, 3))
    inner = keras.Sequential([any_size, keras.layers.Conv2D(2, 3)])  # [2, 2, 2]
    model = keras.Model(image, keras.layers.Flatten()(inner(image)))
    assert memory.activations(model, rows=10) == 10 * (8 + 8) * 4


def test_pieces_of_a_batch_take_less():
    whole, pieces = (
        memory.estimated(replace(RECIPE, micro_batches=count), CLASSES, image_size=28, replicas=2)
        for count in (1, 3)
    )
    assert (whole.rows, pieces.rows) == (
        12,
        4,
    )  # 24 images over two devices, and a third of them at once
    assert whole.activations == 3 * pieces.activations
    assert whole.logits == 3 * pieces.logits == 3 * 4 * 12 * CLASSES
    assert whole.counted == pieces.counted


def test_the_sum_is_that_of_its_parts_and_without_data_each_class_is_told():
    known = memory.estimated(RECIPE, CLASSES, image_size=28, replicas=1)
    assert known.total == sum(known.counted.values()) + known.activations + known.logits
    unknown = memory.estimated(RECIPE, 0, image_size=28, replicas=1)
    # a row of weights, its gradient and its momentum, 8 numbers of 4 bytes each; and 24 logits
    # three times
    assert sum(unknown.each_class.values()) == 3 * 8 * 4 + 3 * 24 * 4
    assert unknown.total + CLASSES * sum(unknown.each_class.values()) == pytest.approx(known.total)
    *_, last = memory.lines(unknown)
    assert last.endswith("in all, on each device, and 384 bytes a class")
    assert "a class" not in "\n".join(memory.lines(known))
