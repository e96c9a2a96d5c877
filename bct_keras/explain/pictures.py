"""Heat laid over the image it is of."""

import matplotlib as mpl
import numpy as np
from PIL import Image

SIZE = 112  # pixels
COLOURS = "inferno"
STRENGTH = 0.8


def plain(image: np.ndarray) -> Image.Image:
    """Returns an image [size, size, 3] uint8 at the size of the page."""
    return Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def overlay(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """Returns an image that is grey where it is cold and coloured where it is hot."""
    grey = np.asarray(plain(image).convert("L"), np.float32)[..., None] / 255
    coarse = Image.fromarray(heat.astype(np.float32))
    smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    hot = np.clip(smooth, 0, 1)  # [SIZE, SIZE]
    colour = mpl.colormaps[COLOURS](hot)[..., :3]
    weight = STRENGTH * hot[..., None]
    mixed = (1 - weight) * grey + weight * colour
    return Image.fromarray(np.uint8(255 * mixed))
