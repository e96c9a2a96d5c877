from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bct_keras.evaluate.ijb import alignment

GOLDEN = (
    Path(__file__).parents[2] / "golden" / "alignment.npz"
)  # by alignment_by_opencv.py beside it


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.mark.parametrize("number", range(3))
def test_the_map_is_the_way_back_of_umeyamas_similarity(golden, number):
    (found,) = alignment.sampling_maps(golden[f"points{number}"][None], 112)
    forward = np.vstack([golden[f"matrix{number}"], [0, 0, 1]])
    np.testing.assert_allclose(
        found.reshape(2, 3), np.linalg.inv(forward)[:2], rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("number", range(3))
def test_aligned_images_are_opencvs(golden, number):
    (sampling_map,) = alignment.sampling_maps(golden[f"points{number}"][None], 112)
    found = alignment.align(Image.fromarray(golden[f"image{number}"]), sampling_map, 112)
    difference = np.abs(found[::2, ::2].astype(int) - golden[f"aligned{number}"].astype(int))
    assert found.shape == (112, 112, 3)
    assert difference.mean() < 0.3
    assert difference.max() <= 6


def test_another_size_is_the_template_made_larger_or_smaller(golden):
    points = golden["points0"][None]
    (large,), (small,) = alignment.sampling_maps(points, 112), alignment.sampling_maps(points, 56)
    # Pixel (x, y) of the smaller one is where (2 x, 2 y) of the larger one is.
    np.testing.assert_allclose(small * [0.5, 0.5, 1, 0.5, 0.5, 1], large)


def test_a_grey_image_has_three_equal_channels(golden):
    image = Image.fromarray(golden["image0"]).convert("L")
    found = alignment.align(image, alignment.sampling_maps(golden["points0"][None], 28)[0], 28)
    assert found.std() > 10
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 2), 1e9), np.linspace(-1e7, 1e7, 10).reshape(5, 2)]
)
def test_points_that_make_no_sense_give_an_image_all_the_same(points):
    image = Image.fromarray(np.full((40, 30, 3), 200, np.uint8))
    found = alignment.align(image, alignment.sampling_maps(points[None], 112)[0], 112)
    assert found.shape == (112, 112, 3)
    assert set(np.unique(found)) <= set(range(201))


def test_each_byte_is_interpolated_by_itself():
    # Across to a quarter, then down to a whole number. No sum spills into the byte beside it.
    random = np.random.default_rng(0)
    pixels = random.choice([0, 1, 127, 254, 255], (8, 8, 4)).astype(np.uint8)
    at = random.integers(0, 7, (50, 2))
    across, down = random.integers(0, 32, (2, 50))
    found = alignment.bilinear(
        pixels.view(np.uint32).ravel(),
        at[:, 0] * 8 + at[:, 1],
        8,
        across.astype(np.uint64),
        down.astype(np.uint64),
    )
    for number, (y, x) in enumerate(at):
        for channel in range(4):
            corners = pixels[y : y + 2, x : x + 2, channel].astype(int)
            rows = (corners @ [32 - across[number], across[number]] + 4) // 8
            expected = (rows @ [32 - down[number], down[number]] + 64) // 128
            assert found[4 * number + channel] == expected
