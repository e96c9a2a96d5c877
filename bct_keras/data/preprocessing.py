"""What is done to the pixels of an image before an encoder gets them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bct_keras.data.images import FILTERS
from bct_keras.errors import InputError

ORDERS = ("rgb", "bgr")
CHANNELS = 3
Numbers = float | tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """Holds the steps that bring an image to an encoder.

    1. The image is resized to the encoder's size by the filter `resize`, to whole numbers of 0 to
       255.
    2. Its channels are put in the order that `order` names.
    3. Every pixel x becomes (x - mean) / std, with one number for all channels or one for each in
       that order.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: str = "rgb"
    resize: str = "bilinear"
    source: str = ""  # who says so; nothing where nobody does and pixels are passed on as they are

    @property
    def scales(self) -> bool:
        """Tells whether the third step changes anything."""
        has_mean = any(value != 0.0 for value in self.mean)
        has_std = any(value != 1.0 for value in self.std)
        return has_mean or has_std

    @property
    def is_plain(self) -> bool:
        """Tells whether the encoder gets the pixels as they are, resized as usual."""
        return self.facts() == Preprocessing().facts()

    def facts(self) -> dict[str, Any]:
        """Returns all that decides which numbers an encoder gets, as it can be written in JSON."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "order": self.order,
            "resize": self.resize,
        }

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Returns [batch, size, size, 3] as the encoder takes them.

        They are uint8 where nothing is scaled, and else float32.
        """
        if self.order == "bgr":
            images = images[..., ::-1]
        if not self.scales:
            return images
        mean = np.array(self.mean, np.float32)
        std = np.array(self.std, np.float32)
        return (images.astype(np.float32) - mean) / std

    def arguments(self) -> str:
        """Returns the arguments that give this in an encoder's spec.

        An example is `mean=127.5, std=128`.
        """
        texts = []
        if self.scales:
            texts.append(f"mean={shown(self.mean)}, std={shown(self.std)}")
        if self.order != "rgb":
            texts.append(f"order={self.order}")
        if self.resize != "bilinear":
            texts.append(f"resize={self.resize}")
        return ", ".join(texts) or "mean=0, std=1"

    def described(self) -> str:
        """Returns what is done, and who says so."""
        return f"{self.steps()} ({self.source or 'nothing says how'})"

    def steps(self) -> str:
        """Returns what is done in a few words."""
        numbers = "as they are"
        if self.scales:
            numbers = f"(x - {shown(self.mean)}) / {shown(self.std)}"
        text = f"pixels {numbers}, channels {self.order}"
        if self.resize != "bilinear":
            text += f", resized by {self.resize}"
        return text


# For an encoder that needs none: one that was trained here, or that is no file at all.
OWN = Preprocessing(source="it takes pixels as they are")


def chosen(given: dict[str, Any], found: Preprocessing, what: str) -> Preprocessing:
    """Returns what the user gave and, where an argument was left out, what the file says.

    Args:
        given: The arguments by their names; None is left out.
        found: What was found in the file.
        what: Names the encoder in errors.
    """
    told = {name: value for name, value in given.items() if value is not None}
    for name in ("mean", "std"):
        if name in told:
            told[name] = numbers(told[name], name, what)
    if 0.0 in told.get("std", ()):
        raise InputError(f"{what}: std=0 would divide by zero")
    for name, known in (("order", ORDERS), ("resize", FILTERS)):
        if name in told and told[name] not in known:
            names = ", ".join(known)
            raise InputError(f"{what}: {name}={told[name]} is not known; known are {names}")
    if not told:
        return found
    return replace(found, **told, source="as given")


def numbers(value: Any, name: str, what: str) -> tuple[float, ...]:
    """Returns one finite number or one for each channel, as a tuple."""
    found = value if isinstance(value, tuple) else (value,)
    all_numbers = all(is_number(each) for each in found)
    if not all_numbers or len(found) not in (1, CHANNELS):
        raise InputError(
            f"{what}: {name} has to be a number or three, such as 127.5 or (123.7, 116.3, 103.5)"
        )
    return tuple(float(each) for each in found)


def is_number(value: Any) -> bool:
    """Tells whether this is a number, and a finite one."""
    if type(value) not in (int, float):
        return False
    return abs(value) < 1e30  # not NaN either


def shown(values: Iterable[float]) -> str:
    """Returns one number, or several in brackets, as a spec has them."""
    texts = [f"{value:.9g}" for value in values]
    if len(texts) == 1:
        return texts[0]
    return f"({', '.join(texts)})"
