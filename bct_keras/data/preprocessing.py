"""What is done to the pixels of an image before an encoder gets them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bct_keras.data.images import FILTERS
from bct_keras.errors import InputError

ORDERS = ("rgb", "bgr")
CHANNELS = 3
Numbers = float | tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """The steps, in this order:

    1. The image is resized to the encoder's size by the filter `resize`, to whole numbers of 0 to
    255. 2. Its channels are put in the order that `order` names. 3. Every pixel x becomes (x -
    mean) / std, with one number for all channels or one for each in that order.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: str = "rgb"
    resize: str = "bilinear"
    source: str = ""  # who says so; nothing where nobody does and pixels are passed on as they are

    @property
    def scales(self) -> bool:
        return set(self.mean) != {0.0} or set(self.std) != {1.0}

    @property
    def is_plain(self) -> bool:
        return self.facts() == Preprocessing().facts()

    def facts(self) -> dict[str, Any]:
        """Returns all that decides which numbers an encoder gets, as it can be written in JSON."""
        facts = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        del facts["source"]
        return facts

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Returns [batch, size, size, 3] as the encoder takes them: uint8 as they are, or float32
        where scaled.
        """
        if self.order == "bgr":
            images = images[..., ::-1]
        if not self.scales:
            return images
        return (images.astype(np.float32) - np.array(self.mean, np.float32)) / np.array(
            self.std, np.float32
        )

    def arguments(self) -> str:
        """Returns the arguments that give just this in an encoder's spec, such as `mean=127.5,
        std=128`.
        """
        texts = [f"mean={shown(self.mean)}, std={shown(self.std)}"] if self.scales else []
        texts += [f"order={self.order}"] if self.order != "rgb" else []
        texts += [f"resize={self.resize}"] if self.resize != "bilinear" else []
        return ", ".join(texts) or "mean=0, std=1"

    def described(self) -> str:
        """Returns what is done, and who says so."""
        return f"{self.steps()} ({self.source or 'nothing says how'})"

    def steps(self) -> str:
        """Returns what is done in a few words."""
        numbers = f"(x - {shown(self.mean)}) / {shown(self.std)}" if self.scales else "as they are"
        texts = [f"pixels {numbers}", f"channels {self.order}"]
        texts += [f"resized by {self.resize}"] if self.resize != "bilinear" else []
        return ", ".join(texts)


# For an encoder that needs none: one that was trained here, or that is no file at all.
OWN = Preprocessing(source="it takes pixels as they are")


def chosen(given: dict[str, Any], found: Preprocessing, what: str) -> Preprocessing:
    """Returns what the user gave and, where an argument was left out (None), what was `found` in
    the file.
    """
    told = {name: value for name, value in given.items() if value is not None}
    for name in {"mean", "std"} & told.keys():
        told[name] = numbers(told[name], name, what)
    if 0.0 in told.get("std", ()):
        raise InputError(f"{what}: std=0 would divide by zero")
    for name, known in (("order", ORDERS), ("resize", FILTERS)):
        if name in told and told[name] not in known:
            raise InputError(
                f"{what}: {name}={told[name]} is not known; known are {', '.join(known)}"
            )
    return replace(found, **told, source="as given") if told else found


def numbers(value: Any, name: str, what: str) -> tuple[float, ...]:
    """Returns one finite number or one for each channel, as a tuple."""
    found = value if isinstance(value, tuple) else (value,)
    if len(found) not in (1, CHANNELS) or not all(is_number(each) for each in found):
        raise InputError(
            f"{what}: {name} has to be a number or three, such as 127.5 or (123.7, 116.3, 103.5)"
        )
    return tuple(float(each) for each in found)


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30  # not NaN either


def shown(values: Iterable[float]) -> str:
    texts = [f"{value:.9g}" for value in values]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
