"""What the tests of benchmarks train: the flags, the same as values, and the command."""

import subprocess
from pathlib import Path

import forked

# All but the identities, the old encoder and what is compared.
FLAGS = """
--backbone=tiny_backbones:one_convolution
--batch_size=12
--epochs=1
--optimizer=adamw
--schedule=cosine
--learning_rate=0.02
--head=arcface(margin=0.3, scale=16)
--seeds=3
--jobs=2
--workdir=out
"""
# Of a recipe that is planned and not trained.
VALUES = {
    "backbone": "iresnet_small(width=4)",
    "dims": 8,
    "head": "softmax",
    "optimizer": "sgd",
    "schedule": "cosine",
    "learning_rate": 0.1,
    "batch_size": 8,
    "epochs": 1,
    "mirror": False,
    "seed": 0,
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the command in a folder that has benchmark.flags."""
    return forked.run(
        "-m",
        "bct_keras.benchmark.__main__",
        "--flagfile=benchmark.flags",
        *arguments,
        cwd=folder,
        timeout=400,
    )
