"""The script that draws characters of Matplotlib's fonts."""

import runpy
from pathlib import Path

import numpy as np
import pytest

GLYPHS = Path(__file__).parents[1] / "configs/glyphs/glyphs.py"
LATIN_A, GREEK_ALPHA = 0x41, 0x391


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(GLYPHS))


def test_of_characters_that_are_drawn_alike_the_first_is_taken(script):
    faces = {}
    for path, characters in script["characters_by_face"]().items():
        faces[path] = characters & {LATIN_A, GREEK_ALPHA, 0x42}
    assert list(script["to_draw"](faces)) == [LATIN_A, 0x42]


def test_an_image_is_its_characters_and_is_drawn_again_the_same(script):
    face = next(iter(script["characters_by_face"]()))
    images = {}
    for name, character in (("A", 0x41), ("A again", 0x41), ("B", 0x42)):
        drawn = script["drawn"](character, face, np.random.default_rng(0))
        images[name] = np.asarray(drawn)
    assert images["A"].shape == (28, 28)
    np.testing.assert_array_equal(images["A"], images["A again"])
    assert np.abs(images["A"].astype(int) - images["B"]).max() > 100
