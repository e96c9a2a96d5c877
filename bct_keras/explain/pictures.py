"""Heat laid over the image it is of."""

import matplotlib as mpl
import numpy as np
from PIL import Image

SIZE = 112  # pixels
COLOURS = "inferno"
STRENGTH = 0.8


def plain(image: np.ndarray) -> Image.Image:
    """Returns an image [size, size, 3] uint8 at the size of the page."""
    picture = Image.fromarray(image)
    return picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def overlay(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """Returns an image that is grey where it is cold and coloured where it is hot.

    Args:
        image: [size, size, 3] uint8.
        heat: [size, size], 0 to 1.
    """
    lightness = plain(image).convert("L")
    grey = np.asarray(lightness, np.float32)[..., None] / 255  # [SIZE, SIZE, 1]
    coarse = Image.fromarray(heat.astype(np.float32))
    smooth = coarse.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    hot = np.clip(np.asarray(smooth), 0, 1)  # [SIZE, SIZE]
    colours = mpl.colormaps[COLOURS]
    colour = colours(hot)[..., :3]  # without its opacity
    weight = STRENGTH * hot[..., None]
    mixed = (1 - weight) * grey + weight * colour
    return Image.fromarray(np.uint8(255 * mixed))
