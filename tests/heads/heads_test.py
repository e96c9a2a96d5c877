import sys
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.heads import HEADS
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.head import in_one_copy
from bct_keras.heads.margins import combine
from bct_keras.heads.softmax import Softmax

sys.path.insert(0, str(Path(__file__).parent))
from single_head import SPECS, built, losses_and_gradients

# Inputs and results of the reference code's ArcFace, scale 64 and margin 0.5, loss averaged over
# the batch. Row 0 lies at its class centre (cosine 1), row 1 opposite to it, row 2 near it.
REFERENCE = Path(__file__).parents[1] / "golden" / "arcface_exact.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as stored:
        return {name: stored[name] for name in stored} | {
            "labels": stored["labels"].astype(np.int32)
        }


def test_arcface_logits_are_those_of_the_reference(reference):
    head = built(ArcFace(classes=50, margin=0.5, scale=64.0), reference["weights"])
    logits = head.logits(
        tf.constant(reference["embeddings"]), tf.constant(reference["labels"])
    ).numpy()
    # At cosine 1 the sine is not 0 but the root of 1e-6, which lowers row 0's logit by 64 * 1e-3 *
    # sin 0.5 = 0.03.
    assert logits[0, reference["labels"][0]] == pytest.approx(
        64 * (np.cos(0.5) - 1e-3 * np.sin(0.5)), abs=1e-3
    )
    logits[0, reference["labels"][0]] = reference["logits"][0, reference["labels"][0]]
    np.testing.assert_allclose(logits, reference["logits"], rtol=1e-5, atol=1e-4)


def test_arcface_loss_and_gradients_are_those_of_the_reference(reference):
    head = built(ArcFace(classes=50, margin=0.5, scale=64.0), reference["weights"])
    losses, d_embeddings, d_weights = losses_and_gradients(
        head, reference["embeddings"], reference["labels"]
    )
    # The reference reports no more than -log 1e-30 = 69.1 for an example, and keeps the gradient
    # all the same.
    assert np.minimum(losses, -np.log(1e-30)).mean() == pytest.approx(
        reference["loss"].item(), rel=1e-5
    )
    assert np.isfinite(d_embeddings).all()
    assert np.isfinite(d_weights).all()
    # The angle has no gradient at cosine 1: row 0 and its class are left out of the comparison.
    for row in range(1, 16):
        largest = np.abs(reference["d_embeddings"][row]).max()
        # Row 2's is exp(-29): a logit of 53 is known to 4e-6 in float32, and the gradient to a few
        # times that.
        share = 1e-4 if row == 2 else 1e-5
        np.testing.assert_allclose(
            d_embeddings[row], reference["d_embeddings"][row], rtol=0, atol=share * largest
        )
    others = np.arange(50) != reference["labels"][0]
    largest = np.abs(reference["d_weights"][others]).max()
    np.testing.assert_allclose(
        d_weights[others], reference["d_weights"][others], rtol=0, atol=1e-5 * largest
    )


def test_softmax_is_cross_entropy_of_scores_with_a_bias():
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(6, 4)).astype(np.float32)
    weights, bias = random.normal(size=(5, 4)), random.normal(size=5)
    labels = random.integers(0, 5, 6, np.int32)
    head = built(Softmax(classes=5), weights)
    head.bias.assign(bias)
    # loss_i = log sum_j exp(w_j . x_i + b_j) - (w_y . x_i + b_y)
    scores = embeddings @ weights.T + bias
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(6), labels]
    np.testing.assert_allclose(
        head(tf.constant(embeddings), tf.constant(labels)), expected, rtol=1e-5
    )


def test_arcface_without_margin_is_softmax_of_scaled_cosines():
    random = np.random.default_rng(1)
    embeddings, weights = random.normal(size=(6, 4)).astype(np.float32), random.normal(size=(5, 4))
    labels = random.integers(0, 5, 6, np.int32)
    head = built(ArcFace(classes=5, margin=0.0, scale=10.0), weights)
    scores = 10 * (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    scores = scores @ (weights / np.linalg.norm(weights, axis=1, keepdims=True)).T
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(6), labels]
    np.testing.assert_allclose(
        head(tf.constant(embeddings), tf.constant(labels)), expected, rtol=1e-5, atol=1e-6
    )


def reference_losses(margin, scale: float, embeddings, weights, labels) -> np.ndarray:
    """Returns the losses in float64, by the formula.

    That is -log softmax of scaled cosines with `margin` of row i's own cosine in its place.
    """
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (embeddings, weights)]
    logits = scale * unit[0] @ unit[1].T
    for row, label in enumerate(labels):
        logits[row, label] = scale * margin(
            logits[row, label] / scale, np.linalg.norm(embeddings[row])
        )
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]


def angle(cosine, factor, added):
    return np.cos(factor * np.arccos(cosine) + added)


def ada_margin(cosine, length):
    # The running mean and deviation start at 20 and 100 and have taken one batch in with 1 %.
    lengths = np.linalg.norm(RANDOM_EMBEDDINGS, axis=1)
    mean, deviation = 0.99 * 20 + 0.01 * lengths.mean(), 0.99 * 100 + 0.01 * lengths.std(ddof=1)
    quality = np.clip(0.333 * (length - mean) / (deviation + 1e-3), -1, 1)
    return np.cos(np.clip(np.arccos(cosine) - 0.4 * quality, 1e-3, np.pi - 1e-3)) - (
        0.4 * quality + 0.4
    )


def mag_margin(cosine, length):
    return angle(cosine, 1, 0.45 + 0.35 * (np.clip(length, 10, 110) - 10) / 100)


RANDOM_EMBEDDINGS = (
    np.random.default_rng(5).normal(size=(6, 4)) * np.arange(1, 7)[:, None] * 5
).astype(np.float32)


@pytest.mark.parametrize(
    ("spec", "margin"),
    [
        ("normface(scale=8)", lambda cosine, length: cosine),
        ("cosface(margin=0.3, scale=8)", lambda cosine, length: cosine - 0.3),
        ("arcface(margin=0.3, scale=8)", lambda cosine, length: angle(cosine, 1, 0.3)),
        (
            "combined(margins=(1.1, 0.2, 0.1), scale=8)",
            lambda cosine, length: angle(cosine, 1.1, 0.2) - 0.1,
        ),
        ("adaface(scale=8)", ada_margin),
        ("magface(scale=8, pull=0)", mag_margin),
        (
            "subcenter_arcface(centres=1, margin=0.3, scale=8)",
            lambda cosine, length: angle(cosine, 1, 0.3),
        ),
    ],
)
def test_losses_are_those_of_the_formula(spec, margin):
    weights = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, 4, 0], np.int32)
    unit = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (RANDOM_EMBEDDINGS, weights)
    ]
    assert (
        np.sum(unit[0] * unit[1][labels], axis=1).min() > -0.6
    )  # no margin here passes pi: acos(-0.6) + 0.8 < pi
    head = built(specs.build(HEADS, spec, classes=5), weights)
    expected = reference_losses(
        margin, 8.0, RANDOM_EMBEDDINGS.astype(np.float64), weights.astype(np.float64), labels
    )
    np.testing.assert_allclose(
        head(tf.constant(RANDOM_EMBEDDINGS), tf.constant(labels)), expected, rtol=1e-4
    )


@pytest.mark.parametrize(
    "margins", [(1.1, 0.2, 0.1), (1.35, 0.3, 0.0), (2.0, 1.0, 0.0), (4.0, 0.0, 0.2)]
)
def test_the_combined_margin_falls_with_the_angle_however_often_that_passes_pi(margins):
    factor, added, subtracted = margins
    angles = np.linspace(0.01, np.pi - 0.01, 500)
    found = combine(tf.constant(np.cos(angles), tf.float32), *margins).numpy()
    assert np.all(np.diff(found) < 0)
    # (-1)^k cos a - 2k = cos(a - k pi) - 2k: each half turn is the first one again, lower by what
    # that fell
    half_turns, rest = np.divmod(factor * angles + added, np.pi)
    np.testing.assert_allclose(found, np.cos(rest) - 2 * half_turns - subtracted, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_those_of_the_logits_differentiated(spec):
    """Compares the written-out gradient with TensorFlow's own of a plain cross entropy."""
    head = built(specs.build(HEADS, spec, classes=5))
    head.class_weights.assign(np.random.default_rng(6).normal(size=head.class_weights.shape))
    labels = np.array([0, 1, 2, 3, 4, 0], np.int32)
    embeddings = tf.constant(RANDOM_EMBEDDINGS)
    if hasattr(head, "follow"):
        head.momentum = 1.0  # a step would move what the second one reads
    _, *found = losses_and_gradients(head, RANDOM_EMBEDDINGS, labels)
    targets = (1 - head.label_smoothing) * np.eye(5)[labels] + head.label_smoothing / 5
    with tf.GradientTape() as tape:
        tape.watch([embeddings, head.class_weights.value])
        losses = tf.nn.softmax_cross_entropy_with_logits(
            targets.astype(np.float32), head.logits(embeddings, tf.constant(labels))
        )
        if hasattr(head, "length_loss"):
            losses += head.length_loss(tf.norm(embeddings, axis=1))
        mean = tf.reduce_mean(losses)
    expected: Any = tape.gradient(mean, [embeddings, head.class_weights.value])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_filtered_classes_count_as_cosine_0():
    # cos to class 1 is 0.8, above the filter of 0.7: it counts as 0. To class 2 it is 0.6, and the
    # own class is kept.
    embeddings, labels = tf.constant([[0.8, 0.6]]), tf.constant([0])
    head = built(specs.build(HEADS, "normface(scale=2, filter_above=0.7)", classes=3), dims=2)
    head.class_weights.assign([[0.8, 0.6], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(head.logits(embeddings, labels), [[2.0, 0.0, 1.2]], rtol=1e-6)
    assert float(head(embeddings, labels)[0]) == pytest.approx(
        np.log(np.exp(2) + 1 + np.exp(1.2)) - 2, rel=1e-5
    )


def test_smoothed_labels_give_every_class_its_share():
    embeddings, labels = tf.constant([[0.8, 0.6]]), tf.constant([0])
    head = built(specs.build(HEADS, "normface(scale=2, label_smoothing=0.3)", classes=3), dims=2)
    head.class_weights.assign([[0.8, 0.6], [1.0, 0.0], [0.0, 1.0]])
    # targets 0.8, 0.1, 0.1 of logits 2, 1.6, 1.2
    log_total = np.log(np.exp(2) + np.exp(1.6) + np.exp(1.2))
    expected = log_total - 0.8 * 2 - 0.1 * 1.6 - 0.1 * 1.2
    assert float(head(embeddings, labels)[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("spec", ["softmax(label_smoothing=0.3)", "normface(label_smoothing=0.3)"])
def test_smoothed_labels_are_those_of_keras(spec):
    head = built(specs.build(HEADS, spec, classes=5))
    labels = tf.constant([0, 1, 2, 3, 4, 0])
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.3, reduction="none"
    )
    expected: Any = loss(tf.one_hot(labels, 5), head.logits(tf.constant(RANDOM_EMBEDDINGS), labels))
    np.testing.assert_allclose(head(tf.constant(RANDOM_EMBEDDINGS), labels), expected, rtol=1e-5)


def test_the_nearest_of_a_class_s_centres_counts():
    head = built(
        specs.build(HEADS, "subcenter_arcface(centres=2, margin=0, scale=1)", classes=2), dims=2
    )
    head.class_weights.assign(
        [[1, 0], [0.6, 0.8], [0, -1], [-1, 0]]
    )  # class 0: rows 0 and 1; class 1: rows 2 and 3
    logits = head.logits(tf.constant([[0.6, 0.8]]), tf.constant([1]))
    np.testing.assert_allclose(logits, [[1.0, -0.6]], atol=1e-6)


def test_gradient_through_the_margin_or_past_it():
    random = np.random.default_rng(7)
    embeddings, weights = random.normal(size=(6, 4)).astype(np.float32), random.normal(size=(5, 4))
    labels = np.array([0, 1, 2, 3, 4, 0], np.int32)
    exact, passed = (
        built(
            specs.build(HEADS, f"arcface(margin=0.2, scale=4, gradient={gradient})", classes=5),
            weights,
        )
        for gradient in ("exact", "straight_through")
    )
    exact_losses, exact_gradient, _ = losses_and_gradients(exact, embeddings, labels)
    passed_losses, passed_gradient, _ = losses_and_gradients(passed, embeddings, labels)
    np.testing.assert_allclose(exact_losses, passed_losses, rtol=1e-5)
    assert np.abs(exact_gradient - passed_gradient).max() > 1e-3


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_a_label_outside_the_classes_is_an_error(name, label):
    head = built(specs.build(HEADS, name, classes=3), dims=2)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="a label is outside the head's 3 classes, 0 to 2"
    ):
        head(tf.constant([[1.0, 0.0]]), tf.constant([label]))


@pytest.mark.parametrize("name", HEADS)
def test_an_embedding_that_is_no_number_is_an_error(name):
    head = built(specs.build(HEADS, name, classes=3), dims=2)
    embeddings, labels = tf.constant([[1.0, 0.0], [np.nan, 0.0]]), tf.constant([1, 1])
    with pytest.raises(
        InputError, match="the embedding of row 1 of the batch is not a finite number"
    ):
        head(embeddings, labels)
    # Within a step it is not hidden: training stops at such a loss and names the records, or drops
    # the step.
    losses = tf.function(lambda given: head(given, labels), autograph=False)(embeddings).numpy()
    assert np.isnan(losses[1])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "arcface(gradient=none)",
            "gradient='none' of a head has to be one of exact, straight_through",
        ),
        (
            "cosface(label_smoothing=1)",
            "label_smoothing=1 of a head has to be at least 0 and below 1",
        ),
        (
            "softmax(label_smoothing=-0.1)",
            "label_smoothing=-0.1 of a head has to be at least 0 and below 1",
        ),
        (
            "arcface(margin=28.6)",
            "margin=28.6 of arcface has to be an angle in radians, from 0 to pi",
        ),
        (
            "subcenter_arcface(margin=-0.5)",
            "margin=-0.5 of subcenter_arcface has to be an angle in radians",
        ),
        ("combined(margins=(1, 28.6, 0))", "margin=28.6 of combined has to be an angle in radians"),
        ("magface(margins=(28, 45))", "margin=28 of magface has to be an angle in radians"),
        ("combined(margins=(1, 2))", r"margins=\(1, 2\) of combined have to be three numbers"),
        (
            "magface(margins=('a', 'b'))",
            r"margins=\('a', 'b'\) and lengths=.* of magface have to be \(least, most\)",
        ),
        ("magface(lengths=(5, 5))", r"lengths=\(5, 5\) of magface have to be \(least, most\)"),
        ("normface(sample_rate=0)", "sample_rate=0 of a head has to be above 0 and at most 1"),
        ("subcenter_arcface(centres=0)", "centres=0 of subcenter_arcface has to be at least 1"),
    ],
)
def test_what_makes_no_head_is_refused(spec, said):
    with pytest.raises(InputError, match=said):
        specs.build(HEADS, spec, classes=3)


def test_class_weights_start_from_the_same_numbers_without_more_copies():
    initializer = keras.initializers.RandomNormal(stddev=0.01, seed=3)
    alone = initializer((5, 4), dtype="float32")
    made = in_one_copy(initializer)((5, 4), dtype="float32")
    np.testing.assert_array_equal(made, alone)
    asked = []

    def noted(shape: Any, dtype: Any = None):
        asked.append(tf.executing_eagerly())
        return tf.zeros(shape, dtype)

    in_one_copy(cast("Any", noted))((5, 4), "float32")
    assert asked == [False]  # a graph, which changes a tensor in place
