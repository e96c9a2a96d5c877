"""What AdvBCT, NCCL and GalleryContrast add to a step of iresnet18 at 112 x 112: a JSON line for
each.

The method's part of the step is timed by itself, forward and backward, and set against the step
without a method, which is timed with fewer images and scaled: its time goes with their number.
"""

import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import argparse
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.backbones.iresnet import iresnet18
from bct_keras.heads.arcface import ArcFace
from bct_keras.methods.advbct import AdvBCT
from bct_keras.methods.gallerycontrast import GalleryContrast
from bct_keras.methods.independent import Independent
from bct_keras.methods.method import Method, Training
from bct_keras.methods.nccl import NCCL
from bct_keras.models import CompatibleModel
from bct_keras.optimizers import SGD

DIMS = 512
REQUIRED_SHARE = 0.1
STEP_IMAGES = 32


def advbct(classes: int) -> Method:
    features = {
        "centres": (
            np.random.default_rng(0).normal(size=(classes, DIMS)).astype(np.float32) / DIMS**0.5
        ),
        "radii": np.full(classes, 0.6, np.float32),
        "kept": np.full(classes, 10.0, np.float32),
    }
    method: Any = AdvBCT()
    old: Any = SimpleNamespace(feature=features.__getitem__)
    method.prepare(old, Training(classes, DIMS, epochs=35, steps=1000))
    return method


def nccl(classes: int) -> Method:
    method: Any = NCCL(
        queue=8192, alpha=1, beta=0.01
    )  # both terms: the second one is most of the work
    method.classes, method.compatible_dims = classes, DIMS
    return method


def gallerycontrast(classes: int) -> Method:
    method: Any = GalleryContrast()
    method.compatible_dims = DIMS
    return method


def fastest(call: Callable, repeats: int) -> float:
    call()  # traces
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def step_seconds(classes: int, batch_size: int, repeats: int) -> float:
    model = CompatibleModel(iresnet18(image_size=112, dims=DIMS), ArcFace(classes), Independent())
    model.compile(optimizer=SGD(0.1), jit_compile=False)  # pyright: ignore
    images = np.random.default_rng(0).integers(0, 256, (batch_size, 112, 112, 3), np.uint8)
    batch: Any = ({"image": images}, np.arange(batch_size) % classes)
    data = tf.data.Dataset.from_tensors(batch).repeat()
    return fastest(lambda: model.fit(data, steps_per_epoch=1, epochs=1, verbose=0), repeats)  # pyright: ignore


def penalty_seconds(method: Method, classes: int, batch_size: int, repeats: int) -> float:
    head = ArcFace(classes)
    for layer in (head, method):
        layer.build((None, DIMS))
    random = np.random.default_rng(1)
    new, old = (tf.constant(random.normal(size=(batch_size, DIMS)), tf.float32) for _ in range(2))
    labels = tf.constant(random.integers(0, classes, batch_size), tf.int32)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(new)
            batch = {"old_embedding": old, "step": tf.constant(10, tf.int64)}
            loss = tf.reduce_mean(method.penalty(new, labels, batch, head))
        variables = [
            weight.value for weight in (*method.trainable_variables, *head.trainable_variables)
        ]
        return tape.gradient(
            loss, [new, *variables], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    return fastest(
        lambda: [np.asarray(tf.convert_to_tensor(gradient)[:1]) for gradient in run()], repeats
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    sizes = (options.classes, options.batch_size, options.repeats)
    step = (
        step_seconds(options.classes, STEP_IMAGES, options.repeats)
        * options.batch_size
        / STEP_IMAGES
    )
    for build in (advbct, nccl, gallerycontrast):
        extra = penalty_seconds(build(options.classes), *sizes)
        figure = {
            "name": (
                f"{build.__name__}, extra per step, batch {options.batch_size}, {options.classes:,}"
                " classes"
            ),
            "value": round(extra, 3),
            "unit": "s",
            "against": f"{REQUIRED_SHARE:.0%} of a step of iresnet18, {step:.1f} s",
            "ratio": round(extra / step, 4),
        }
        print(json.dumps(figure))


if __name__ == "__main__":
    main()
