"""Takes steps of SGD with a linear encoder, and compares with the formulas in float64.

So all that a method trains is checked, not its loss alone. The reference takes every gradient by
differences, clips that of the encoder and the method together, and steps as PyTorch's SGD does,
with the decay added to the gradient.
"""

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras.backbones import BACKBONES
from bct_keras.methods.advbct import AdvBCT
from bct_keras.methods.method import Training
from bct_keras.methods.nccl import NCCL
from bct_keras.models import CompatibleModel
from bct_keras.train.recipe import Recipe

ROWS, CLASSES, DIMS, STEPS, EPOCHS = 12, 4, 6, 4, 2
RATE, MOMENTUM, DECAY, CLIP_NORM = 0.05, 0.9, 0.01, 1.0
SCALE, MARGIN = 8.0, 0.2
Weights = dict[str, np.ndarray]

random = np.random.default_rng(0)
IMAGES = random.normal(size=(STEPS, ROWS, DIMS))
OLD = random.normal(size=(STEPS, ROWS, DIMS))
LABELS = random.integers(0, CLASSES, size=(STEPS, ROWS))
CENTRES = random.normal(size=(CLASSES, DIMS)) / 3
RADII = np.array([0.3, 0.6, 0.9, 0.5])
FEATURES = {"centres": CENTRES, "radii": RADII, "kept": np.array([5.0, 4.0, 6.0, 1.0])}


def linear(image_size: int, dims: int) -> keras.Model:
    image = keras.Input((image_size,))
    return keras.Model(image, keras.layers.Dense(dims, use_bias=False, name="encoder")(image))


def model_of(method: Any, monkeypatch) -> CompatibleModel:
    """Returns the model as a run builds it."""
    monkeypatch.setitem(BACKBONES, "linear", linear)
    recipe = Recipe(
        backbone="linear",
        dims=DIMS,
        head=f"arcface(scale={SCALE:g}, margin={MARGIN:g})",
        method=type(method).__name__.lower(),
        optimizer=f"sgd(momentum={MOMENTUM:g}, l2={DECAY:g})",
        schedule="step(epochs=(99,))",
        learning_rate=RATE,
        batch_size=ROWS,
        epochs=EPOCHS,
        mirror=False,
        seed=0,
        clip_norm=CLIP_NORM,
    )
    old: Any = SimpleNamespace(feature=lambda name: FEATURES[name].astype(np.float32))
    method.prepare(old, Training(CLASSES, DIMS, EPOCHS, STEPS))
    return recipe.build_model(DIMS, CLASSES, STEPS, method)


def train(model: CompatibleModel) -> None:
    for images, old, labels in zip(IMAGES, OLD, LABELS, strict=True):
        batch = {
            "image": tf.constant(images, tf.float32),
            "old_embedding": tf.constant(old, tf.float32),
        }
        model.train_step((batch, tf.constant(labels, tf.int64)))


def in_float64(model: CompatibleModel) -> Weights:
    """Returns the weights by the name of the layer and the weight.

    The head's is the only one that is not clipped.
    """
    found = {}
    for weight in model.trainable_variables:
        owner, name = weight.path.split("/")[-2:]
        found[f"{owner}/{name}"] = weight.numpy().astype(np.float64)
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]


def arcface(new: np.ndarray, class_weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    cosine = unit(new) @ unit(class_weights).T
    own = np.eye(CLASSES)[labels]
    return cross_entropy(
        SCALE * ((1 - own) * cosine + own * np.cos(np.arccos(cosine) + MARGIN)), labels
    )


def slope(loss, weights: Weights, name: str) -> np.ndarray:
    """Returns the slope of a loss with respect to one of the weights, by differences."""
    found = np.zeros_like(weights[name])
    for place in np.ndindex(found.shape):
        both = []
        for step in (1e-6, -1e-6):
            moved = weights[name].copy()
            moved[place] += step
            both.append(loss(weights | {name: moved}))
        found[place] = (both[0] - both[1]) / 2e-6
    return found


def stepped(weights: Weights, buffers: Weights, gradients: Weights, head: str) -> None:
    clipped = [gradient for name, gradient in gradients.items() if name != head]
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in clipped))
    assert norm > CLIP_NORM  # or the clipping were not seen
    for name, gradient in gradients.items():
        factor = 1.0 if name == head else CLIP_NORM / norm
        buffers[name] = (
            MOMENTUM * buffers.get(name, 0.0) + factor * gradient + DECAY * weights[name]
        )
        weights[name] = weights[name] - RATE * buffers[name]


def assert_trained_alike(model: CompatibleModel, expected: Weights, start: Weights) -> None:
    found = in_float64(model)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        way = np.abs(weight - start[name]).max()
        assert way > 1e-4
        np.testing.assert_allclose(found[name], weight, rtol=0, atol=2e-3 * way, err_msg=name)


def queued(steps: int, queue: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the last old embeddings and their labels.

    Places that are not filled yet have zeros and -1.
    """
    old, labels = unit(OLD[:steps].reshape(-1, DIMS)), LABELS[:steps].reshape(-1)
    old = np.concatenate([np.zeros((queue, DIMS)), old])
    return old[-queue:], np.concatenate([np.full(queue, -1), labels])[-queue:]


@pytest.mark.parametrize("alpha", [8.0, 1.0])
def test_nccl_trains_the_first_term_as_often_as_the_released_code_has_gpus(alpha, monkeypatch):
    queue = 2 * ROWS + 3  # not full in the first two steps, and written over in the third
    model = model_of(
        NCCL(queue=queue) if alpha == 8.0 else NCCL(queue=queue, alpha=alpha), monkeypatch
    )
    start = in_float64(model)
    head = next(name for name in start if name.endswith("class_weights"))
    weights, buffers = dict(start), {}
    for step in range(STEPS):
        old_queue, queue_labels = queued(step + 1, queue)

        def loss(values, step=step, old_queue=old_queue, queue_labels=queue_labels):
            new, labels = IMAGES[step] @ values["encoder/kernel"], LABELS[step]
            products = unit(new) @ old_queue.T
            same_class = labels[:, None] == queue_labels[None, :]
            shares = (
                same_class
                * 0.5
                * (1 + unit(OLD[step]) @ old_queue.T)
                / same_class.sum(1, keepdims=True)
            )
            of_first_term = -(
                shares * (products - np.log(np.exp(products).sum(1, keepdims=True)))
            ).sum(1)
            return np.mean(arcface(new, values[head], labels) + alpha * of_first_term)

        stepped(weights, buffers, {name: slope(loss, weights, name) for name in weights}, head)
    train(model)
    assert_trained_alike(model, weights, start)


def test_advbct_trains_encoder_boundaries_and_discriminator_together(monkeypatch):
    method: Any = AdvBCT()
    model = model_of(method, monkeypatch)
    start = in_float64(model)
    names = {
        weight.path.split("/")[-1]: name
        for weight, name in zip(model.trainable_variables, start, strict=True)
    }
    head, elastic, encoder = names["class_weights"], names["elastic"], "encoder/kernel"
    hidden, norm, verdict = method.hidden.name, method.norm.name, method.verdict.name

    def to_set(values, step):
        labels = LABELS[step]
        boundaries = RADII + (0.4 - RADII) / (1 + np.exp(-values[elastic]))
        distances = np.linalg.norm(unit(IMAGES[step] @ values[encoder]) - CENTRES[labels], axis=1)
        excess = np.where(labels < 3, np.maximum(distances - boundaries[labels], 0), 0)
        return 4 * excess.sum() / max(np.count_nonzero(excess), 1)

    def judged(values, embeddings):
        inner = embeddings @ values[f"{hidden}/kernel"] + values[f"{hidden}/bias"]
        inner = (inner - inner.mean(0)) / np.sqrt(inner.var(0) + 1e-5)
        inner = np.maximum(inner * values[f"{norm}/gamma"] + values[f"{norm}/beta"], 0)
        return inner @ values[f"{verdict}/kernel"] + values[f"{verdict}/bias"]

    def told_apart(values, step):
        epoch = step * EPOCHS // STEPS
        of_new = cross_entropy(
            judged(values, unit(IMAGES[step] @ values[encoder])), np.zeros(ROWS, int)
        )
        of_old = cross_entropy(judged(values, unit(OLD[step])), np.ones(ROWS, int))
        return 4 * (EPOCHS - epoch + 1) / EPOCHS * np.mean(of_new + of_old)

    def of_head(values, step):
        return np.mean(arcface(IMAGES[step] @ values[encoder], values[head], LABELS[step]))

    weights, buffers = dict(start), {}
    for step in range(STEPS):
        reversal = 2 / (1 + np.exp(-10 * step / STEPS)) - 1
        gradients = {}
        for name in weights:
            sign = (
                -reversal if name == encoder else 1.0
            )  # the encoder makes the kinds harder to tell apart
            gradients[name] = slope(
                lambda values, step=step: of_head(values, step) + to_set(values, step),
                weights,
                name,
            ) + sign * slope(lambda values, step=step: told_apart(values, step), weights, name)
        stepped(weights, buffers, gradients, head)
    train(model)
    assert_trained_alike(model, weights, start)


def test_the_discriminator_starts_as_pytorchs_layers_do():
    method: Any = AdvBCT()
    old: Any = SimpleNamespace(feature=FEATURES.__getitem__)
    method.prepare(old, Training(CLASSES, DIMS, EPOCHS, STEPS))
    method.build((None, DIMS))
    for layer, inputs in ((method.hidden, DIMS), (method.verdict, 100)):
        for weight in (layer.kernel, layer.bias):
            values, bound = np.abs(weight.numpy()), inputs**-0.5
            assert values.max() <= bound
            assert values.max() > bound / 4
    # Uniform: a mean of bound / 2, to within five times what chance gives 600 values
    assert np.abs(method.hidden.kernel.numpy()).mean() == pytest.approx(
        DIMS**-0.5 / 2, rel=5 * 600**-0.5 / 3**0.5
    )
