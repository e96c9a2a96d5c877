"""Heat laid over the image it is of."""

import matplotlib as mpl
import numpy as np
from PIL import Image

SIZE = 112  # pixels
COLOURS = "inferno"
STRENGTH = 0.8


def plain(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def overlay(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """Grey where it is cold, coloured where it is hot."""
    grey = np.asarray(plain(image).convert("L"), np.float32)[..., None] / 255
    smooth = Image.fromarray(heat.astype(np.float32)).resize(
        (SIZE, SIZE), Image.Resampling.BILINEAR
    )
    hot = np.clip(np.asarray(smooth), 0, 1)[..., None]
    colour = mpl.colormaps[COLOURS](hot[..., 0])[..., :3]
    weight = STRENGTH * hot
    return Image.fromarray(np.uint8(255 * ((1 - weight) * grey + weight * colour)))
