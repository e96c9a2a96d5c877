from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.data.embeddings import normalised
from bct_keras.errors import InputError
from bct_keras.heads.adaface import AdaFace
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.magface import MagFace
from bct_keras.methods.mixbct import MixBCT


def batch_of(rows: int, credible: np.ndarray | None = None, step: int = 0) -> dict[str, tf.Tensor]:
    old = np.random.default_rng(1).normal(size=(rows, 4))
    return {
        "old_embedding": tf.constant(old, tf.float32),
        "credible": tf.constant(np.ones(rows) if credible is None else credible, tf.float32),
        "step": tf.constant(step, tf.int64),
    }


def new_embeddings(rows: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(2).normal(size=(rows, 4)), tf.float32)


def mixed_rows(batch: dict[str, tf.Tensor], **options) -> np.ndarray:
    """Returns [batch] bool: which rows the head does not get as the new encoder gave them."""
    new = new_embeddings(len(batch["credible"]))
    return np.any(MixBCT(**options).head_input(new, batch) != new, axis=1)


def odd_rows(rows: int) -> np.ndarray:
    return np.arange(rows) % 2


@pytest.mark.parametrize(
    ("rows", "ratio", "expected"),
    # floor(ratio * rows); as binary numbers 0.29 * 100 is 28.999...
    [
        (10, 0.3, 3),
        (128, 0.3, 38),
        (9, 0.3, 2),
        (100, 0.29, 29),
        (10, 0.0, 0),
        (10, 1.0, 10),
        (1, 0.3, 0),
    ],
)
def test_so_many_rows_are_mixed(rows, ratio, expected):
    assert mixed_rows(batch_of(rows), mix_ratio=ratio).sum() == expected


def test_only_credible_rows_are_mixed():
    credible = odd_rows(40)
    for step in range(20):
        mixed = mixed_rows(batch_of(40, credible, step))
        assert mixed.sum() == 12  # floor(0.3 * 40), of 20 that could be
        assert not mixed[credible == 0].any()


def test_fewer_credible_rows_mix_fewer():
    credible = np.isin(np.arange(40), [3, 17, 30])
    np.testing.assert_array_equal(mixed_rows(batch_of(40, credible)), credible)


def test_no_credible_rows_mix_none():
    assert not mixed_rows(batch_of(40, np.zeros(40))).any()


def test_every_credible_row_has_its_turn():
    drawn = sum(
        mixed_rows(batch_of(20, step=step), mix_ratio=0.3).astype(int) for step in range(200)
    )
    # 200 draws of 6 in 20: each row 60 times, standard deviation 6.5
    assert np.all(np.abs(drawn - 60) < 4 * 6.5)


def test_mixed_rows_are_the_normalised_old_embeddings():
    batch, new = batch_of(20), new_embeddings(20)
    mixed = mixed_rows(batch)
    old = batch["old_embedding"].numpy()
    expected = np.where(mixed[:, None], old / np.linalg.norm(old, axis=1, keepdims=True), new)
    np.testing.assert_allclose(MixBCT().head_input(new, batch), expected, rtol=1e-6)


def test_an_old_embedding_of_length_0_stays_finite():
    batch = batch_of(20) | {"old_embedding": tf.zeros((20, 4))}
    assert np.isfinite(MixBCT().head_input(new_embeddings(20), batch)).all()


def test_mixed_rows_have_no_gradient():
    head = built(ArcFace(classes=3))
    batch, new = batch_of(20), new_embeddings(20)
    with tf.GradientTape() as tape:
        tape.watch(new)
        loss = tf.reduce_mean(head(MixBCT().head_input(new, batch), tf.range(20) % 3))
    gradient = cast(tf.Tensor, tape.gradient(loss, new)).numpy()
    mixed, still = mixed_rows(batch), np.all(gradient == 0, axis=1)
    assert still[mixed].all()
    assert (
        np.mean(still[~mixed]) < 0.5
    )  # a row that the head is sure of may have a gradient of 0 too


def long_and_short(rows: int) -> tf.Tensor:
    """Returns new embeddings of lengths 10 to 60, as MagFace and AdaFace know them."""
    lengths = np.linspace(10.0, 60.0, rows)
    return tf.constant(normalised(new_embeddings(rows).numpy()) * lengths[:, None], tf.float32)


def built(head: Any) -> Any:
    head.build((None, 4))
    return head


def heads_by_length() -> list[Any]:
    keras.utils.set_random_seed(0)  # of the class weights
    return [built(AdaFace(classes=3)), built(MagFace(classes=3))]


@pytest.mark.parametrize("head", [0, 1])
def test_a_mixed_row_has_the_margin_of_its_image(head):
    head, other = heads_by_length()[head], heads_by_length()[head]
    other.class_weights.assign(head.class_weights)
    batch, new, labels, method = batch_of(20), long_and_short(20), tf.range(20) % 3, MixBCT()
    given, swapped = method.head_input(new, batch), method.swapped(new, batch)
    mixed = np.asarray(swapped.rows)
    assert mixed.sum() == 6
    # As if the old embedding had been as long as the new one; of MagFace without what pulls that
    # length.
    rescaled = given * tf.where(swapped.rows, tf.norm(new, axis=1), 1.0)[:, None]
    pull = other.length_loss(tf.norm(new, axis=1)).numpy()
    expected = other(rescaled, labels).numpy() - np.where(mixed, pull, 0.0)
    np.testing.assert_allclose(head(given, labels, swapped=swapped), expected, rtol=1e-4, atol=1e-4)
    # With the length 1 it is another loss.
    assert np.any(np.abs(head(given, labels) - expected)[mixed] > 0.01)


@pytest.mark.parametrize("head", [0, 1])
def test_the_length_of_a_new_embedding_learns_nothing_from_a_mixed_row(head):
    batch, new, method = batch_of(20), long_and_short(20), MixBCT()
    with tf.GradientTape() as tape:
        tape.watch(new)
        swapped = method.swapped(new, batch)
        loss = heads_by_length()[head](
            method.head_input(new, batch), tf.range(20) % 3, swapped=swapped
        )
    gradient = cast(tf.Tensor, tape.gradient(loss, new)).numpy()
    np.testing.assert_array_equal(np.all(gradient == 0, axis=1), mixed_rows(batch))


def test_running_lengths_of_adaface_are_those_of_new_embeddings():
    with_old, without = built(AdaFace(classes=3)), built(AdaFace(classes=3))
    batch, new, labels, method = batch_of(20), long_and_short(20), tf.range(20) % 3, MixBCT()
    with_old(method.head_input(new, batch), labels, swapped=method.swapped(new, batch))
    without(new, labels)
    # 0.99 * 20 + 0.01 * 35, and a standard deviation of 15.57 beside the first 100
    assert float(with_old.mean.numpy()) == pytest.approx(20.15, rel=1e-5)
    assert float(with_old.deviation.numpy()) == pytest.approx(0.99 * 100 + 0.01 * 15.5697, rel=1e-5)
    assert float(without.mean.numpy()) == pytest.approx(20.15, rel=1e-5)


def test_the_draw_depends_on_seed_and_step_alone():
    batch = batch_of(40, step=5)
    np.testing.assert_array_equal(
        mixed_rows(batch, seed=3), mixed_rows(batch_of(40, step=5), seed=3)
    )
    assert np.any(mixed_rows(batch, seed=3) != mixed_rows(batch, seed=4))
    assert np.any(mixed_rows(batch, seed=3) != mixed_rows(batch_of(40, step=6), seed=3))


def test_the_draw_is_the_same_inside_a_graph():
    batch, method = batch_of(40), MixBCT()
    inside = tf.function(method.head_input)(new_embeddings(40), batch)
    np.testing.assert_allclose(inside, method.head_input(new_embeddings(40), batch), rtol=1e-6)


def test_the_number_of_mixed_rows_is_a_metric():
    method = MixBCT()
    method.head_input(new_embeddings(10), batch_of(10))  # 3 rows
    method.head_input(new_embeddings(10), batch_of(10, np.eye(10)[0], step=1))  # 1 row
    assert {metric.name: metric.result() for metric in method.metrics} == {"mixed_rows": 2.0}


def test_no_penalty():
    penalty = MixBCT().penalty(new_embeddings(5), tf.zeros(5, tf.int32), batch_of(5), None)
    np.testing.assert_array_equal(penalty, np.zeros(5))


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(InputError, match="mix_ratio"):
        MixBCT(mix_ratio=ratio)
