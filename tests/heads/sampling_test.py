import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.heads import HEADS, cross_entropy
from bct_keras.heads.sampling import columns_of, sampled_classes
from bct_keras.optimizers import OPTIMIZERS

sys.path.insert(0, str(Path(__file__).parent))
import trained_head
from trained_head import trained

pytestmark = pytest.mark.seconds(11)

COSINE_HEADS = [name for name in HEADS if name not in ("softmax", "simplex")]


def drawn(present: list[int], classes: int, count: int, seed: int) -> np.ndarray:
    return sampled_classes(tf.constant(present), classes, count, tf.constant([seed, 0])).numpy()


def test_the_batch_s_classes_are_always_drawn_and_others_uniformly():
    counts = np.zeros(20)
    for seed in range(600):
        found = drawn([7, 3, 7], 20, 8, seed)
        assert len(set(found)) == 8
        assert np.all(np.diff(found) > 0)
        assert {3, 7} <= set(found)
        counts[found] += 1
    # Each of the other 18 in 6 of 18 draws: 200 of 600, with a deviation of sqrt(600 / 3 * 2 / 3) =
    # 11.5.
    others = np.delete(counts, [3, 7])
    assert np.all(np.abs(others - 200) < 5 * 11.5)


def test_same_seed_same_draw_and_another_step_another():
    assert np.array_equal(drawn([1], 50, 10, 4), drawn([1], 50, 10, 4))
    assert not np.array_equal(drawn([1], 50, 10, 4), drawn([1], 50, 10, 5))
    head = specs.build(HEADS, "arcface(sample_rate=0.2)", classes=50)
    head.build((None, 4))
    first, again, other = (head.rows(tf.constant([1]), step).classes.numpy() for step in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_columns_are_where_labels_stand():
    assert columns_of(tf.constant([9, 2, 5, 11]), tf.constant([2, 5, 9])).numpy().tolist() == [
        2,
        0,
        1,
        -1,
    ]


def test_no_room_for_the_batch_s_classes_is_an_error():
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="no room for the batch: it takes 2 of the 10"
    ):
        drawn([1, 2, 3], 10, 2, 0)


@pytest.mark.parametrize("name", COSINE_HEADS)
def test_all_classes_drawn_are_the_full_head(name):
    strategy = tf.distribute.get_strategy()
    # 0.99 of 31 classes is rounded up to all of them.
    full, sampled = (trained(spec, strategy) for spec in (name, f"{name}(sample_rate=0.99)"))
    for key, values in full.items():
        np.testing.assert_allclose(sampled[key], values, rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("optimizer", ["sgdw", "adamw", "sgd(momentum=0)"])
def test_the_table_learns_as_the_optimizer_has_it(optimizer):
    strategy = tf.distribute.get_strategy()
    full, sampled = (
        trained(spec, strategy, optimizer) for spec in ("cosface", "cosface(sample_rate=0.99)")
    )
    for key, values in full.items():
        np.testing.assert_allclose(sampled[key], values, rtol=1e-5, atol=1e-5, err_msg=key)


def test_rows_that_are_not_drawn_keep_weights_and_momentum():
    head: Any = specs.build(HEADS, "arcface(sample_rate=0.2)", classes=20)
    head.build((None, 4))
    optimizer = specs.build(OPTIMIZERS, "sgd", learning_rate=0.1)
    head.add_slots(optimizer)
    head.table.assign("momentum", tf.ones((20, 4)))
    before = head.stored()["class_weights"]
    rows = head.rows(tf.constant([3, 4]), 0)
    head.learn(rows, tf.ones_like(rows.weights), optimizer)
    chosen = rows.classes.numpy()
    assert len(chosen) == 4
    others = np.setdiff1d(np.arange(20), chosen)
    after, momentum = head.stored()["class_weights"], head.table.whole("momentum").numpy()
    np.testing.assert_array_equal(after[others], before[others])
    np.testing.assert_array_equal(momentum[others], 1.0)
    # b = 0.9 * 1 + 1 + 5e-4 w;  w -= 0.1 b
    np.testing.assert_allclose(momentum[chosen], 1.9 + 5e-4 * before[chosen], rtol=1e-6)
    np.testing.assert_allclose(after[chosen], before[chosen] - 0.1 * momentum[chosen], rtol=1e-5)


def test_a_step_that_is_dropped_changes_nothing():
    head: Any = specs.build(HEADS, "arcface(sample_rate=0.5)", classes=6)
    head.build((None, 4))
    optimizer = specs.build(OPTIMIZERS, "sgd", learning_rate=0.1)
    head.add_slots(optimizer)
    before = head.stored()["class_weights"]
    rows = head.rows(tf.constant([3]), 0)
    head.learn(rows, tf.fill(rows.weights.shape, np.nan), optimizer, tf.constant(False))
    np.testing.assert_array_equal(head.stored()["class_weights"], before)


def test_compiled_where_classes_are_many_is_the_same(monkeypatch):
    spec = "subcenter_arcface(centres=2, label_smoothing=0.1, sample_rate=0.9)"
    plain = trained(spec, tf.distribute.get_strategy())
    monkeypatch.setattr(cross_entropy, "COMPILED_FROM", 1)
    monkeypatch.setattr("bct_keras.heads.by_rows.COMPILED_FROM", 1)
    compiled = trained(spec, tf.distribute.get_strategy())
    for key, values in plain.items():
        np.testing.assert_allclose(compiled[key], values, rtol=1e-5, atol=1e-5, err_msg=key)


def test_lamb_cannot_change_some_rows_alone():
    head = specs.build(HEADS, "arcface(sample_rate=0.5)", classes=6)
    head.build((None, 4))
    with pytest.raises(InputError, match="the optimizer lamb cannot change some rows alone"):
        head.add_slots(specs.build(OPTIMIZERS, "lamb", learning_rate=0.1))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("arcface", "a label is outside the head's 31 classes, 0 to 30"),
        ("arcface(sample_rate=0.9)", "a label is outside the head's 31 classes, 0 to 30"),
        (
            "arcface(sample_rate=0.1)",
            "sample_rate leaves no room for the batch: it takes 4 of the 31 classes",
        ),
    ],
)
def test_a_step_tells_plainly_what_it_refuses(spec, said, monkeypatch):
    # A batch of 30 has more than 4 classes; 31 is no class.
    batches = trained_head.batches().map(
        lambda images, labels: (images, labels + 20 * ("0.1" not in spec))
    )
    monkeypatch.setattr(trained_head, "batches", lambda: batches)
    with pytest.raises(InputError) as caught:
        trained(spec, tf.distribute.get_strategy())
    told = str(caught.value)
    assert told.startswith(said)
    assert "[" not in told


def test_a_method_that_needs_all_logits_is_told_so():
    head = specs.build(HEADS, "arcface(sample_rate=0.5)", classes=6)
    head.build((None, 4))
    with pytest.raises(InputError, match="needs the logits of all classes"):
        head.logits(tf.ones((1, 4)), tf.constant([1]))
