"""How long UniBCT's refinement of a million embeddings takes, in how much memory, and how long the
released code's loop would: two JSON lines. `--records` and `--classes` make it smaller.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from bct_keras.embed.by_class import map_classes
from bct_keras.methods import class_features

DIMS = 128
SHARD_RECORDS = 50_000
TEMPERATURE, SMOOTHING = 0.05, 0.9
REQUIRED_SECONDS, REQUIRED_BYTES, REQUIRED_RATIO = 60, 2e9, 20
LOOPED_IMAGES = 400


def write_shards(folder: Path, records: int, classes: int) -> tuple[np.ndarray, list[list[Path]]]:
    """Random embeddings around class centres, the classes strewn over all shards."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, records)
    centres = random.normal(size=(classes, DIMS)).astype(np.float32)
    sources: list[list[Path]] = [[], []]
    for first in range(0, records, SHARD_RECORDS):
        rows = labels[first : first + SHARD_RECORDS]
        for name, files in zip(("old", "new"), sources, strict=True):
            files.append(folder / f"{name}-{first}.npy")
            np.save(
                files[-1], centres[rows] + random.normal(size=(len(rows), DIMS)).astype(np.float32)
            )
    return labels, sources


def refine(labels: np.ndarray, sources: list[list[Path]]) -> np.ndarray:
    prototypes = np.zeros((labels.max() + 1, DIMS), np.float32)

    def of_block(block):
        old, new = block.embeddings
        return class_features.refined_prototypes(
            old, class_features.normalised(new), TEMPERATURE, SMOOTHING
        )

    for block, found in map_classes(of_block, labels, sources, "refining"):
        prototypes[block.classes] = found
    return prototypes


def loop_seconds(
    labels: np.ndarray, sources: list[list[Path]]
) -> tuple[float, dict[int, np.ndarray]]:
    """Seconds an image as the released code goes: over images, the whole class with its inverse for
    each of them.

    Its softmax is over the other axis, which takes as long.
    """
    old, new = (np.concatenate([np.load(path) for path in files]) for files in sources)
    of_class = {
        label: np.flatnonzero(labels == label) for label in np.unique(labels[:LOOPED_IMAGES])
    }
    found = {}
    begin = time.perf_counter()
    for label in labels[:LOOPED_IMAGES]:
        vertices = new[of_class[label]]
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
        edges = vertices @ vertices.T / TEMPERATURE
        np.fill_diagonal(edges, -1e9)
        edges = np.exp(edges - edges.max(1, keepdims=True))
        edges /= edges.sum(1, keepdims=True)
        spread = (1 - SMOOTHING) * np.linalg.inv(
            np.eye(len(edges), dtype=np.float32) - SMOOTHING * edges
        )
        found[int(label)] = (spread @ old[of_class[label]]).mean(0)
    return (time.perf_counter() - begin) / LOOPED_IMAGES, found


def say(name: str, value: float, unit: str, against: str, ratio: float) -> None:
    print(
        json.dumps(
            {
                "name": name,
                "value": round(value, 2),
                "unit": unit,
                "against": against,
                "ratio": round(ratio, 2),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=20_000)
    options = parser.parse_args()
    what = f"refinement of {options.records:,} x {DIMS} in {options.classes:,} classes"
    with tempfile.TemporaryDirectory() as folder:
        labels, sources = write_shards(Path(folder), options.records, options.classes)
        begin = time.perf_counter()
        refined = refine(labels, sources)
        seconds = time.perf_counter() - begin
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        each, expected = loop_seconds(labels, sources)
    assert all(
        np.allclose(refined[label], found, rtol=1e-4, atol=1e-4)
        for label, found in expected.items()
    )
    say(what, seconds, "s", f"{REQUIRED_SECONDS} s", REQUIRED_SECONDS / seconds)
    say(
        f"{what}, memory at most",
        used / 1e9,
        "GB",
        f"{REQUIRED_BYTES / 1e9} GB",
        REQUIRED_BYTES / used,
    )
    loop = each * options.records
    say(
        f"{what}, the released code's loop, scaled",
        loop,
        "s",
        f"{REQUIRED_RATIO} times ours",
        loop / seconds,
    )


if __name__ == "__main__":
    main()
