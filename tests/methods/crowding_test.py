"""A training on images of which some can hardly be recognised, for a narrow old encoder.

One image in eighteen has the upper half covered, as by a hat, and the old embeddings fill few of
their dimensions. GalleryContrast without new rivals then makes those images alike, whoever is seen
on them. A weight above the default brings it out within a few epochs.
"""

from typing import Any

import keras
import numpy as np
import pytest

import bct_keras as bct
from bct_keras.backbones.iresnet import iresnet_small
from bct_keras.methods import gallerycontrast
from bct_keras.prepare.sources.synthetic import render

pytestmark = pytest.mark.seconds(45)

IDENTITIES, IMAGES, SIDE = 200, 12, 32
DIMS, FILLED = 192, 5
HATS = 0.055  # of the images
EPOCHS, BATCH = 8, 64
SILENT: Any = 0


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, their labels, and which of them have a hat."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(IDENTITIES), IMAGES)
    hats = draw.random(len(labels)) < HATS
    images = []
    for position, label in enumerate(labels):
        picture = render(0, int(label), position % IMAGES, SIDE).copy()  # [3, side, side]
        if hats[position]:
            rows = int(SIDE * draw.uniform(0.4, 0.6))
            noise = draw.normal(18, 4, size=(3, rows, SIDE))
            picture[:, :rows] = np.clip(noise, 0, 255)
        images.append(picture.transpose(1, 2, 0))
    return np.stack(images), labels, hats


def old_embeddings(labels: np.ndarray) -> np.ndarray:
    """Returns what a good old encoder with few directions gives: the identity and some noise."""
    draw = np.random.default_rng(0)
    identities = of_length_1(draw.normal(size=(IDENTITIES, DIMS)))
    noise = 0.8 / np.sqrt(DIMS) * draw.normal(size=(len(labels), DIMS))
    directions, _ = np.linalg.qr(draw.normal(size=(DIMS, DIMS)))
    lengths = np.exp(-np.arange(DIMS) / FILLED)
    found = (identities[labels] + noise) * lengths @ directions
    return of_length_1(found).astype(np.float32)


def of_length_1(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def hats_nearest_others(faces) -> float:
    """Trains, and returns how near a hat's nearest image of another identity is, as a median."""
    images, labels, hats = faces
    keras.utils.set_random_seed(0)
    backbone = iresnet_small(SIDE, DIMS, width=10)
    head = bct.heads.ArcFace(classes=IDENTITIES, margin=0.5, scale=16)
    model = bct.CompatibleModel(backbone, head, bct.methods.GalleryContrast(weight=16.0))
    steps = EPOCHS * (len(images) // BATCH)
    rate: Any = keras.optimizers.schedules.CosineDecay(0.01, steps)
    old = bct.OldEmbeddings(old_embeddings(labels), labels)
    model.compile(optimizer=keras.optimizers.AdamW(rate, weight_decay=0.2), old=old)
    pairs = old.with_images(images).shuffle(len(images), seed=0)
    model.fit(pairs.batch(BATCH, drop_remainder=True), epochs=EPOCHS, verbose=SILENT)
    found = of_length_1(model.encoder.predict(images, verbose=SILENT))
    cosines = found[hats] @ found.T
    cosines[labels[hats][:, None] == labels[None, :]] = -1
    return float(np.median(cosines.max(axis=1)))


@pytest.mark.long
def test_hats_gather_only_where_new_embeddings_are_no_rivals(faces, monkeypatch):
    after = hats_nearest_others(faces)
    whole = gallerycontrast.gallery_contrast

    def without_new_rivals(*given, beside, **options):
        return whole(*given, **options)

    monkeypatch.setattr(gallerycontrast, "gallery_contrast", without_new_rivals)
    before = hats_nearest_others(faces)
    assert before > 0.9
    assert after < 0.8
