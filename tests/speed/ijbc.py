"""IJB-C at its full size from features to all numbers, its meta files, and its images: one JSON
line a figure.

python tests/speed/ijbc.py [numbers|files|images]

Peak memory is the largest resident size during the evaluation less that before there were any
features: the features and the lists of pairs count, too.
"""

import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.metrics import roc_curve

from bct_keras.data import image_check
from bct_keras.evaluate.ijb import files as ijb_files
from bct_keras.evaluate.ijb import rates, templates
from bct_keras.evaluate.ijb.alignment import TEMPLATE
from bct_keras.evaluate.ijb.images import AlignedImages
from bct_keras.evaluate.ijb.rates import Listed, Lists, TemplatePairs
from bct_keras.metrics.verification import Embedded

IMAGES, TEMPLATES, PAIRS, GENUINE = 469_375, 23_124, 15_658_489, 19_557
GALLERIES, PROBES, DIMS = (1_772, 1_759), 19_593, 512
FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def figure(name: str, value: float, unit: str, against: str, ratio: float) -> None:
    print(
        json.dumps(
            {
                "name": name,
                "value": round(value, 3),
                "unit": unit,
                "against": against,
                "ratio": round(ratio, 2),
            }
        )
    )
    sys.stdout.flush()


def made_lists() -> dict[str, Any]:
    """Random ones in IJB-C's counts.

    As there, a pair is a gallery's template and a probe, and none comes twice.
    """
    random = np.random.default_rng(0)
    gallery = sum(GALLERIES)
    subjects = np.concatenate([np.arange(gallery), random.integers(0, gallery, PROBES)])
    genuine = (subjects[gallery:] * PROBES + np.arange(PROBES)).astype(np.int32)
    is_impostor = np.ones(gallery * PROBES, bool)
    is_impostor[genuine] = False
    impostors = random.permutation(np.flatnonzero(is_impostor).astype(np.int32))
    first, second = np.divmod(
        np.concatenate([genuine[:GENUINE], impostors[: PAIRS - GENUINE]]), PROBES
    )
    second += gallery
    image_templates = np.concatenate(
        [np.arange(TEMPLATES), random.integers(0, TEMPLATES, IMAGES - TEMPLATES)]
    )
    return {
        "templates": image_templates,
        "medias": image_templates * 40 + random.integers(0, 10, IMAGES),
        "scores": random.random(IMAGES),
        "lists": Lists(
            TemplatePairs(
                first.astype(np.uint16),
                second.astype(np.uint16),
                subjects[first] == subjects[second],
            ),
            Listed(np.arange(gallery, TEMPLATES), subjects[gallery:]),
            (
                Listed(np.arange(GALLERIES[0]), subjects[: GALLERIES[0]]),
                Listed(np.arange(GALLERIES[0], gallery), subjects[GALLERIES[0] : gallery]),
            ),
        ),
    }


def ours(features: np.ndarray, lists: dict[str, Any]) -> dict[str, float]:
    weights = templates.image_weights(
        features, lists["templates"], lists["medias"], lists["scores"], False
    )
    pooled = templates.pool(features, lists["templates"], TEMPLATES, weights)
    side = Embedded(pooled, np.arange(TEMPLATES))
    return rates.measure(side, side, lists["lists"]).metrics


def plain(features: np.ndarray, lists: dict[str, Any]) -> dict[str, float]:
    """Goes the published way: a loop over templates, pairs gathered, the full curve."""
    weighted = features * lists["scores"][:, None].astype(np.float32)
    pooled = np.zeros((TEMPLATES, features.shape[1]))
    for template in range(TEMPLATES):
        (rows,) = np.where(lists["templates"] == template)
        medias, counts = np.unique(lists["medias"][rows], return_counts=True)
        means = [
            weighted[rows[lists["medias"][rows] == media]].mean(0)
            for media, _ in zip(medias, counts, strict=True)
        ]
        pooled[template] = np.sum(means, axis=0)
    pooled /= np.sqrt(np.sum(pooled**2, -1, keepdims=True))
    pairs, scores = lists["lists"].pairs, np.zeros(PAIRS)
    for start in range(0, PAIRS, 100_000):
        rows = slice(start, start + 100_000)
        scores[rows] = np.sum(pooled[pairs.first[rows]] * pooled[pairs.second[rows]], -1)
    fpr, tpr, _ = roc_curve(pairs.genuine, scores)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    found = {
        rates.rate_name("TAR@FAR", far): float(tpr[np.argmin(np.abs(fpr - far))]) for far in FARS
    }
    first_places = [
        plain_search(pooled, lists["lists"].probes, listed) for listed in lists["lists"].galleries
    ]
    return found | {"top-1": float(np.mean(first_places))}


def plain_search(pooled: np.ndarray, probes: Listed, gallery: Listed) -> float:
    scores = pooled[probes.rows] @ pooled[gallery.rows].T
    order = np.argsort(-scores, axis=1)
    mated = np.isin(probes.subjects, gallery.subjects)
    return float(np.mean(gallery.subjects[order[mated, 0]] == probes.subjects[mated]))


def memory(field: str) -> int:
    """VmRSS now, or VmHWM, the most since it was last reset; bytes."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(field)
    )
    return int(line.split()[1]) * 1024


def numbers() -> None:
    before = memory("VmRSS")
    features = np.random.default_rng(1).standard_normal((IMAGES, DIMS), np.float32)
    lists = made_lists()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    start = time.perf_counter()
    found = ours(features, lists)
    seconds = time.perf_counter() - start
    share = (memory("VmHWM") - before) / features.nbytes
    start = time.perf_counter()
    expected = plain(features, lists)
    plain_seconds = time.perf_counter() - start
    for metric, value in expected.items():
        assert abs(found[metric] - value) < 1e-4, (metric, found[metric], value)
    assert lists["lists"].pairs.genuine.sum() == GENUINE
    assert not lists["lists"].pairs.repeated
    figure("IJB-C, features to all numbers", seconds, "s", "8 s", 8 / seconds)
    figure(
        "the same, speed",
        plain_seconds / seconds,
        "x",
        f"the plain way, {plain_seconds:.1f} s",
        plain_seconds / seconds,
    )
    figure("the same, peak memory", share, "of the features' bytes", "1.5", 1.5 / share)


def files() -> None:
    lists, random = made_lists(), np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        meta = Path(folder)
        pairs = np.stack(
            [lists["lists"].pairs.first, lists["lists"].pairs.second, lists["lists"].pairs.genuine],
            1,
        )
        with (meta / "ijbc_template_pair_label.txt").open("w") as file:
            for block in np.array_split(pairs, 200):
                file.write("".join(f"{a} {b} {c}\n" for a, b, c in block.tolist()))
        points = random.uniform(0, 300, (IMAGES, 10))
        with (meta / "ijbc_name_5pts_score.txt").open("w") as file:
            for image, row in enumerate(points.tolist()):
                file.write(
                    f"{image + 1}.jpg {' '.join(f'{each:.3f}' for each in row)}"
                    f" {row[0] / 300:.6f}\n"
                )
        with (meta / "ijbc_face_tid_mid.txt").open("w") as file:
            columns = zip(lists["templates"].tolist(), lists["medias"].tolist(), strict=True)
            file.writelines(
                f"{image + 1}.jpg {tid} {mid}\n" for image, (tid, mid) in enumerate(columns)
            )
        start = time.perf_counter()
        read = ijb_files.read_pairs(meta, "ijbc")
        ijb_files.read_images(meta, "ijbc")
        seconds = time.perf_counter() - start
    assert (read.second == lists["lists"].pairs.second).all()
    figure("reading IJB-C's meta files", seconds, "s", "5 s", 5 / seconds)


def written_images(folder: Path, count: int) -> tuple[list[str], np.ndarray]:
    """JPEGs of 120 to 360 pixels, 20 KB on average, with a face in each."""
    random = np.random.default_rng(3)
    landmarks = []
    for number in range(count):
        height = int(random.integers(120, 360))
        width = int(0.85 * height)
        coarse = Image.fromarray(
            random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
        )
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        pixels = np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
        landmarks.append(TEMPLATE * width / 112 * 0.8 + np.array([width, height]) * 0.1)
    return [f"{number}.jpg" for number in range(count)], np.array(landmarks)


def rate(work: Callable[[], object], count: int) -> float:
    """Returns images a second, of the fastest round: other programs only slow one down."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return count / min(seconds)


def aligning() -> None:
    count = 1500
    with tempfile.TemporaryDirectory() as folder:
        names, landmarks = written_images(Path(folder), count)
        aligned = AlignedImages(Path(folder), names, landmarks)
        paths = [str(Path(folder) / name) for name in names]

        def decode_by_tensorflow() -> None:
            data = tf.data.Dataset.from_tensor_slices(paths).map(
                lambda path: tf.io.decode_jpeg(
                    tf.io.read_file(path), 3, dct_method="INTEGER_ACCURATE"
                ),
                num_parallel_calls=2,
            )
            for _ in data:
                pass

        def decode_by_pillow() -> None:
            with ThreadPoolExecutor(2) as pool:
                for _ in pool.map(
                    lambda path: np.asarray(image_check.decode(Path(path).read_bytes(), path)),
                    paths,
                ):
                    pass

        both = rate(lambda: [None for _ in aligned.batches(112)], count)
        for name, work in {"TensorFlow": decode_by_tensorflow, "Pillow": decode_by_pillow}.items():
            alone = rate(work, count)
            against = f"decoding alone by {name}, {alone:.0f} images/s"
            figure("decoding and aligning", both, "images/s", against, both / alone)


PARTS = {"numbers": numbers, "files": files, "images": aligning}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
