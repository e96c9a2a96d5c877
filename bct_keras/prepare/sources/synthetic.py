"""Face-like images made by rule, the same bytes on any machine.

So there are only integers, and floats one element at a time under the operations that IEEE 754
rounds in one way (+ - * / and floor): sin, exp, matrix products, sums of floats and zlib's
compression differ from machine to machine.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from bct_keras.artefacts import fingerprint
from bct_keras.errors import InputError
from bct_keras.prepare.sources.source import Record, Source

GENERATOR_VERSION = 1  # one more whenever any byte of any image changes

# How hard it is to tell identities apart. Colours run from 0 to 255; lengths are in halves of the
# image side.
IDENTITY_STRENGTH = 32.0  # colour: the identity's own pattern, added to the face that all share
IDENTITY_SCALES = {
    4: 1.0,
    7: 1.0,
    12: 0.8,
}  # cells along a side of the pattern's grids: share in it
IDENTITY_COLOUR = 0.35  # how much of the pattern is coloured
ASYMMETRY = (
    0.4  # how much of the pattern is not its own mirror image; at 1 left and right are unrelated
)
FEATURE_JITTER = 0.15  # relative: place and size of eyes, nose, mouth, ...
POSE_ROTATION = 0.15  # tangent of half the angle
POSE_SCALE = 0.15  # relative, width and height each on its own
POSE_SHIFT = 0.15  # with the scale, this makes the crop
POSE_SHEAR = 0.12
LIGHT_GRADIENT = 0.4  # relative, from the middle to an edge
LIGHT_GAIN = 0.3
COLOUR_GAIN = 0.15
COLOUR_OFFSET = 20.0
BLUR_STRENGTH = 0.9  # at 1 the strongest leaves nothing of the sharp face
NOISE_STRENGTH = 30.0  # colour: the most that the strongest changes a pixel
OCCLUSION_SHARE = 0.5  # of the images
OCCLUSION_SIDE = (0.2, 0.5)  # shares of the image side
SCENE_STRENGTH = 60.0  # colour: what is behind faces and before them

SKIN = (155.0, 120.0, 100.0)
# What all faces share: x, y, half width, half height, and the colour that is added to the skin. |x|
# is meant.
FEATURES = (
    ((0.33, -0.20, 0.22, 0.13), (-90.0, -75.0, -60.0)),  # eyes
    ((0.33, -0.42, 0.30, 0.09), (-50.0, -45.0, -40.0)),  # brows
    ((0.00, 0.12, 0.16, 0.34), (25.0, 22.0, 20.0)),  # nose
    ((0.12, 0.30, 0.10, 0.08), (-45.0, -45.0, -40.0)),  # nostrils
    ((0.00, 0.55, 0.36, 0.11), (-25.0, -65.0, -55.0)),  # mouth
    ((0.60, 0.25, 0.30, 0.40), (14.0, -8.0, -6.0)),  # cheeks
    ((0.00, -1.00, 1.10, 0.42), (-95.0, -75.0, -60.0)),  # hair
)
FACE_WIDTH, FACE_HEIGHT, FACE_EDGE = 0.80, 0.96, 5.0

SIDE = 64  # of a texture; its finest grid has 12 cells
SPAN = 1.25  # a texture reaches from -SPAN to SPAN: poses look past the image, and blur spreads
BLUR_STEPS = (1, 2, 3)
SCENES = 32
GRAINS = 1 << 20
IMAGE_SIZES = range(28, 113)


class Synthetic(Source):
    """An identity and its images depend on the seed and on their own numbers, not on how many there
    are.
    """

    decode_to_check = False

    def __init__(
        self, identities: int = 500, images: int = 20, image_size: int = 32, seed: int = 0
    ):
        if identities < 2:
            raise InputError(f"identities={identities}: at least 2 are needed")
        if images < 1:
            raise InputError(f"images={images}: each identity needs at least 1")
        if image_size not in IMAGE_SIZES:
            raise InputError(
                f"image_size={image_size}: must be {IMAGE_SIZES[0]} to {IMAGE_SIZES[-1]}"
            )
        self.images = images
        self.image_size = image_size
        self.seed = seed
        self.identities = [f"identity-{identity:05d}" for identity in range(identities)]
        self.labels = np.repeat(np.arange(identities, dtype=np.int64), images)

    def read(self, position: int) -> Record:
        identity, image = int(self.labels[position]), position % self.images
        picture = render(self.seed, identity, image, self.image_size)
        return Record(png(picture), f"synthetic-seed{self.seed}/{identity:05d}/{image:03d}")

    def fingerprint(self) -> str:
        return fingerprint(
            [GENERATOR_VERSION, len(self.identities), self.images, self.image_size, self.seed]
        )


def render(seed: int, identity: int, image: int, size: int) -> np.ndarray:
    """[3, size, size] uint8."""
    draws = iter(uniform(32, "image", seed, identity, image).tolist())
    face = posed(softened(*face_textures(seed, identity), draws), size, draws)
    behind, before = (scene(seed, size, pick(SCENES, draws)) for _ in range(2))
    picture = mix(behind, face[:3], face[3] / 255.0)
    if between(0.0, 1.0, draws) < OCCLUSION_SHARE:
        occlude(picture, before, draws)
    light(picture, draws)
    first = pick(GRAINS - picture.size, draws)
    noise = grains(seed)[first : first + picture.size].reshape(picture.shape)
    picture += between(0.0, NOISE_STRENGTH, draws) * noise
    return to_bytes(picture)


def uniform(count: int, *key: str | int) -> np.ndarray:
    """[count] float32 in [-1, 1), of 24 bits: none is rounded."""
    digest = hashlib.shake_128("/".join(str(part) for part in key).encode()).digest(4 * count)
    return (np.frombuffer(digest, "<u4") >> 8).astype(np.float32) / 2.0**23 - 1.0


def between(low: float, high: float, draws: Iterator[float]) -> float:
    return low + (high - low) * (next(draws) + 1.0) / 2.0


def pick(count: int, draws: Iterator[float]) -> int:
    return int(between(0.0, count, draws))


@lru_cache(maxsize=2048)  # of 32 KiB each: `prepare` reads in random order
def face_textures(seed: int, identity: int) -> tuple[np.ndarray, np.ndarray]:
    """The face sharp and blurred, each [SIDE, SIDE, 4] uint8: red, green, blue, and where the face
    is.
    """
    x, y = SPAN * centres(SIDE), SPAN * centres(SIDE)[:, None]
    inside = np.clip(
        FACE_EDGE * (1.0 - np.square(x / FACE_WIDTH) - np.square(y / FACE_HEIGHT)), 0.0, 1.0
    )
    colours = pattern(seed, identity)
    jitter = 1.0 + FEATURE_JITTER * uniform(4 * len(FEATURES), "features", seed, identity)
    places = np.array([place for place, _ in FEATURES], np.float32) * jitter.reshape(-1, 4)
    for (feature_x, feature_y, width, height), (_, colour) in zip(
        places.tolist(), FEATURES, strict=True
    ):
        distance = np.square((np.abs(x) - feature_x) / width) + np.square((y - feature_y) / height)
        colours += column(colour) * np.square(np.maximum(1.0 - distance, 0.0))
    # The mean is the same for all, so that it takes more than an average colour to tell them apart.
    colours += column(SKIN) - mean_inside(colours, inside)
    sharp = np.stack([*colours, 255.0 * inside], axis=-1)
    return to_bytes(sharp), to_bytes(blurred(sharp))


def pattern(seed: int, identity: int) -> np.ndarray:
    """[3, SIDE, SIDE]: what only this identity has."""
    layers = np.zeros((4, SIDE, SIDE), np.float32)
    for cells, share in IDENTITY_SCALES.items():
        layers += share * smooth_noise(4, cells, SIDE, ("pattern", seed, identity))
    layers = (1.0 + ASYMMETRY) * layers + (1.0 - ASYMMETRY) * layers[..., ::-1]
    return IDENTITY_STRENGTH * (layers[:1] + IDENTITY_COLOUR * layers[1:])


def smooth_noise(channels: int, cells: int, side: int, key: tuple[str | int, ...]) -> np.ndarray:
    """[channels, side, side] in [-1, 1): random at the corners of a grid, smooth between them."""
    corners = uniform(channels * (cells + 1) ** 2, *key, cells).reshape(
        channels, cells + 1, cells + 1
    )
    place = (centres(side) + 1.0) * (cells / 2.0)
    left = place.astype(np.intp)
    share = place - np.floor(place)
    share = share * share * (3.0 - 2.0 * share)
    rows = mix(corners[:, left], corners[:, left + 1], share[:, None])
    return mix(rows.take(left, 2), rows.take(left + 1, 2), share)


def mean_inside(colours: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """[3, 1, 1]; in integers, whose sum is the same in any order."""
    weights = (256.0 * inside).astype(np.int64)
    total = ((256.0 * colours).astype(np.int64) * weights).sum((1, 2))
    return column(total / (256 * weights.sum()))


def blurred(texture: np.ndarray) -> np.ndarray:
    for step in BLUR_STEPS:
        for axis in (0, 1):
            texture = 0.5 * texture + 0.25 * (
                np.roll(texture, -step, axis) + np.roll(texture, step, axis)
            )
    return texture


def softened(sharp: np.ndarray, soft: np.ndarray, draws: Iterator[float]) -> np.ndarray:
    """[SIDE * SIDE, 4] float32: between the two."""
    texture = mix(
        sharp.astype(np.float32), soft.astype(np.float32), between(0.0, BLUR_STRENGTH, draws)
    )
    return texture.reshape(-1, 4)


def posed(texture: np.ndarray, size: int, draws: Iterator[float]) -> np.ndarray:
    """[4, size, size]: what each pixel sees of the texture, between its four neighbours there."""
    tangent, shear = POSE_ROTATION * next(draws), POSE_SHEAR * next(draws)
    cosine = (1.0 - tangent * tangent) / (1.0 + tangent * tangent)
    sine = 2.0 * tangent / (1.0 + tangent * tangent)
    width, height = (SIDE / 2.0 / SPAN * (1.0 + POSE_SCALE * next(draws)) for _ in "xy")
    across, down = (centres(size) + POSE_SHIFT * next(draws) for _ in "xy")
    # [x, y] = [[width, 0], [0, height]] [[1, shear], [0, 1]] [[cosine, sine], [-sine, cosine]]
    # [across, down]
    x = width * (cosine - shear * sine) * across + (width * (sine + shear * cosine) * down)[:, None]
    y = -height * sine * across + (height * cosine * down)[:, None]
    x, y = (np.clip(place + (SIDE - 1) / 2.0, 0.0, SIDE - 1.001) for place in (x, y))
    left, top = np.floor(x), np.floor(y)
    corner = (SIDE * top + left).astype(np.intp)
    share_x, share_y = (np.repeat(share, 4).reshape(size, size, 4) for share in (x - left, y - top))
    upper = mix(texture.take(corner, 0), texture.take(corner + 1, 0), share_x)
    lower = mix(texture.take(corner + SIDE, 0), texture.take(corner + SIDE + 1, 0), share_x)
    return np.ascontiguousarray(mix(upper, lower, share_y).transpose(2, 0, 1))


@lru_cache(maxsize=2 * SCENES)
def scene(seed: int, size: int, number: int) -> np.ndarray:
    """[3, size, size]: a surface, from almost plain to busy."""
    plain = column(uniform(3, "plain", seed, number))
    noise = smooth_noise(3, 2 + number % 7, size, ("scene", seed, number))
    return 128.0 + SCENE_STRENGTH * (plain + noise)


@lru_cache(maxsize=2)
def grains(seed: int) -> np.ndarray:
    """Each image's noise is a piece of this: to draw it anew would take longer than to pose the
    face.
    """
    return uniform(GRAINS, "grains", seed)


def occlude(picture: np.ndarray, before: np.ndarray, draws: Iterator[float]) -> None:
    size = picture.shape[-1]
    height, width = (int(size * between(*OCCLUSION_SIDE, draws)) for _ in "yx")
    top, left = pick(size - height + 1, draws), pick(size - width + 1, draws)
    patch = np.s_[:, top : top + height, left : left + width]
    picture[patch] = before[patch]


def light(picture: np.ndarray, draws: Iterator[float]) -> None:
    across, gain = centres(picture.shape[-1]), 1.0 + LIGHT_GAIN * next(draws)
    slope_x, slope_y = (gain * LIGHT_GRADIENT * next(draws) for _ in "xy")
    picture *= (gain + slope_x * across) + (slope_y * across)[:, None]
    picture *= column([1.0 + COLOUR_GAIN * next(draws) for _ in "rgb"])
    picture += column([COLOUR_OFFSET * next(draws) for _ in "rgb"])


@lru_cache(maxsize=8)
def centres(count: int) -> np.ndarray:
    """[count] float32: the middles of as many equal parts of [-1, 1]."""
    return (np.arange(count, dtype=np.float32) + 0.5) * (2.0 / count) - 1.0


def column(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """One value for each colour: [3, 1, 1]."""
    return np.asarray(values, np.float32)[:, None, None]


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    return first + share * (second - first)


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0.0, 255.0).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """Of [3, height, width] uint8.

    Not compressed: zlib's releases differ in it, and noise hardly shrinks.
    """
    _, height, width = picture.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each line begins with its filter: 0, none
    for channel, plane in enumerate(picture):
        lines[:, 1 + channel :: 3] = plane
    data = lines.tobytes()
    # One stored block holds 65,535 bytes; the largest of IMAGE_SIZES makes 37,744.
    block = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF) + data
    stream = b"\x78\x01" + block + struct.pack(">I", zlib.adler32(data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    )


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
