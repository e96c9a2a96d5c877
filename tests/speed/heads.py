"""A training step of a head over many classes, against PyTorch's, and against one-hot labels: a
JSON line for each.

python tests/speed/heads.py --torch_python=/tmp/torch/bin/python

PyTorch stands in an environment of its own: python -m venv /tmp/torch && /tmp/torch/bin/pip install
torch==2.13.0. Where it is missing, that is said and the other figures are measured. A step is
ArcFace over 93,431 classes behind one dense layer, batch 128 of 512 dimensions, momentum SGD with
L2; each is a process of its own, the median of its steps counts. The curve goes up to 2,000,000
classes and needs 10 GB.
"""

import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Figure, tell

DIMS, BATCH, CLASSES = 512, 128, 93_431
SHARE = 0.1
CURVE = (93_431, 200_000, 500_000, 1_000_000, 2_000_000)
FOUR_GIB = str(4 << 30)
# PyTorch asks the system for every large tensor anew, unless it is told to keep them.
TUNED = {"MALLOC_MMAP_THRESHOLD_": FOUR_GIB, "MALLOC_TRIM_THRESHOLD_": FOUR_GIB}


def measure(kind: str, classes: int, repeats: int) -> dict[str, float]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    steps_of(kind, 10_000)()  # what TensorFlow and its compiler take themselves
    before = resident_bytes()
    step = steps_of(kind, classes)
    seconds = []
    for _ in range(3 + repeats):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": sorted(seconds[3:])[repeats // 2], "bytes": peak_bytes() - before}


def steps_of(kind: str, classes: int) -> Callable[[], Any]:
    import keras
    import tensorflow as tf

    from bct_keras import specs
    from bct_keras.heads import HEADS
    from bct_keras.methods.independent import Independent
    from bct_keras.models import CompatibleModel
    from bct_keras.optimizers import SGD

    inputs = keras.Input((DIMS,))
    backbone = keras.Model(inputs, keras.layers.Dense(DIMS)(inputs))
    images = tf.random.stateless_normal((BATCH, DIMS), (1, 2))
    labels = tf.random.stateless_uniform((BATCH,), (3, 4), 0, classes, tf.int32)
    if kind == "one_hot":
        model: Any = one_hot_model(backbone, classes)
        given: Any = (images, tf.one_hot(labels, classes))
        optimizer: Any = keras.optimizers.SGD(0.1, momentum=0.9)
    else:
        spec = "arcface" if kind == "full" else f"arcface(sample_rate={SHARE})"
        model = CompatibleModel(backbone, specs.build(HEADS, spec, classes=classes), Independent())
        given, optimizer = ({"image": images}, labels), SGD(0.1)
        model.head.add_slots(optimizer)
    model.compile(optimizer=optimizer, jit_compile=False)  # pyright: ignore
    optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step)
    return lambda: step(given)


def one_hot_model(backbone, classes: int):
    """As Keras peers write ArcFace: the margin over all columns, and a choice by one-hot labels."""
    import keras
    import tensorflow as tf

    class OneHot(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = backbone
            self.classes = self.add_weight(
                shape=(classes, DIMS), initializer="random_normal", name="classes"
            )
            self.built = True

        def call(self, images, training=False):
            return self.backbone(images)

        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight=None,
            training=True,
        ):
            units = [
                tf.math.l2_normalize(rows, axis=1)
                for rows in (y_pred, tf.convert_to_tensor(self.classes))
            ]
            cosine = tf.clip_by_value(tf.matmul(*units, transpose_b=True), -1.0, 1.0)
            turned = tf.cos(tf.acos(tf.clip_by_value(cosine, -1 + 1e-6, 1 - 1e-6)) + 0.5)
            return keras.losses.CategoricalCrossentropy(from_logits=True)(
                y, 64.0 * (y * turned + (1.0 - y) * cosine)
            )

    return OneHot()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process(arguments: list[str], **environment: str) -> dict[str, float]:
    done = subprocess.run(
        arguments, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(kind: str, classes: int, repeats: int) -> dict[str, float]:
    return in_a_process(
        [
            sys.executable,
            __file__,
            f"--measure={kind}",
            f"--classes={classes}",
            f"--repeats={repeats}",
        ]
    )


def theirs(python: str, share: float, repeats: int) -> float:
    script = Path(__file__).with_name("heads_torch.py")
    values = [str(value) for value in (CLASSES, DIMS, BATCH, share, repeats)]
    return in_a_process([python, str(script), *values], **TUNED)["seconds"]


def say(what: str, value: float, unit: str, peer: str, ratio: float, asked: str) -> None:
    tell(Figure(what, round(value, 4), unit, peer, round(ratio, 3), asked))


def against_pytorch(python: str, full: float, sampled: float, repeats: int) -> None:
    if (
        not shutil.which(python)
        or subprocess.run([python, "-c", "import torch"], capture_output=True).returncode
    ):
        print(
            f"{python} has no torch, which these figures are set against: see --help",
            file=sys.stderr,
        )
        return
    for name, share, seconds, bar in (
        ("full", 1.0, full, 1.5),
        (f"sampled {SHARE}", SHARE, sampled, 1.4),
    ):
        value = theirs(python, share, repeats)
        say(
            f"{name} step",
            seconds,
            "s",
            f"PyTorch, its allocator tuned, {value:.3f} s",
            value / seconds,
            f"at least {bar}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch_python", default=sys.executable, help="an interpreter that has PyTorch 2.13"
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--nocurve", action="store_true", help="leave the curve of up to 2,000,000 classes out"
    )
    parser.add_argument("--measure", choices=["full", "sampled", "one_hot"], help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, default=CLASSES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.classes, options.repeats)))
        return
    full, sampled = (ours(kind, CLASSES, options.repeats) for kind in ("full", "sampled"))
    against_pytorch(options.torch_python, full["seconds"], sampled["seconds"], options.repeats)
    share = sampled["seconds"] / full["seconds"]
    say(f"sampled {SHARE} step", sampled["seconds"], "s", "the full step", share, "at most 0.25")
    one_hot = ours("one_hot", CLASSES, options.repeats)["seconds"]
    say(
        "full step",
        full["seconds"],
        "s",
        f"one-hot labels, {one_hot:.3f} s",
        one_hot / full["seconds"],
        "at least 1.8",
    )
    needed = 4 * (3 * CLASSES * DIMS + 2 * BATCH * CLASSES)
    peer = f"weights, momentum, gradient and two copies of the logits, {needed / 1e6:.0f} MB"
    megabytes = full["bytes"] / 1e6
    say("memory of a full step", megabytes, "MB", peer, full["bytes"] / needed, "at most 1.2")
    for classes in () if options.nocurve else CURVE:
        seconds = ours("sampled", classes, 5)["seconds"]
        growth = seconds / sampled["seconds"] / (classes / CLASSES)
        peer = f"{classes / CLASSES:.2f} times the step over {CLASSES:,}"
        what = f"sampled {SHARE} step, {classes:,} classes"
        say(what, seconds, "s", peer, growth, "at most 1")


if __name__ == "__main__":
    main()
