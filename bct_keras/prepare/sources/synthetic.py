"""Face-like images made by rule, the same bytes on any machine.

So there are only integers, and floats one element at a time under the operations that IEEE 754
rounds in one way (+ - * / and floor): sin, exp, matrix products, sums of floats and zlib's
compression differ from machine to machine.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from bct_keras.artefacts import fingerprint
from bct_keras.errors import InputError
from bct_keras.prepare.sources.drawing import (
    between,
    centres,
    column,
    mix,
    pick,
    png,
    smooth_noise,
    to_bytes,
    uniform,
)
from bct_keras.prepare.sources.source import Record, Source

GENERATOR_VERSION = 1  # one more whenever any byte of any image changes

# How hard it is to tell identities apart. Colours run from 0 to 255; lengths are in halves of the
# image side.
IDENTITY_STRENGTH = 32.0  # colour: the identity's own pattern, added to the face that all share
IDENTITY_SCALES = {4: 1.0, 7: 1.0, 12: 0.8}  # cells along a side of its grids: share in it
IDENTITY_COLOUR = 0.35  # how much of the pattern is coloured
ASYMMETRY = 0.4  # how much of it is not its own mirror image; at 1 left and right are unrelated
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
    """Images made by rule.

    An identity and its images depend on the seed and on their own numbers, not on how many there
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
        """Returns the image at this position, which is drawn now."""
        identity = int(self.labels[position])
        image = position % self.images
        picture = render(self.seed, identity, image, self.image_size)
        ident = f"synthetic-seed{self.seed}/{identity:05d}/{image:03d}"
        return Record(image=png(picture), id=ident)

    def fingerprint(self) -> str:
        """Returns the name of all that decides what the images are."""
        identities = len(self.identities)
        return fingerprint(
            [GENERATOR_VERSION, identities, self.images, self.image_size, self.seed],
        )


def render(seed: int, identity: int, image: int, size: int) -> np.ndarray:
    """Draws an image: [3, size, size] uint8."""
    draws = iter(uniform(32, "image", seed, identity, image).tolist())
    sharp, soft = face_textures(seed, identity)
    texture = softened(sharp, soft, draws)
    face = posed(texture, size, draws)
    behind = scene(seed, size, pick(SCENES, draws))
    before = scene(seed, size, pick(SCENES, draws))
    picture = mix(behind, face[:3], face[3] / 255.0)
    if between(0.0, 1.0, draws) < OCCLUSION_SHARE:
        occlude(picture, before, draws)
    light(picture, draws)
    first = pick(GRAINS - picture.size, draws)
    noise = grains(seed)[first : first + picture.size]
    strength = between(0.0, NOISE_STRENGTH, draws)
    picture += strength * noise.reshape(picture.shape)
    return to_bytes(picture)


@lru_cache(maxsize=2048)  # of 32 KiB each: `prepare` reads in random order
def face_textures(seed: int, identity: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the face sharp and blurred, each [SIDE, SIDE, 4] uint8.

    The four are red, green, blue, and where the face is.
    """
    x = SPAN * centres(SIDE)
    y = SPAN * centres(SIDE)[:, None]
    from_edge = 1.0 - np.square(x / FACE_WIDTH) - np.square(y / FACE_HEIGHT)
    inside = np.clip(FACE_EDGE * from_edge, 0.0, 1.0)
    colours = pattern(seed, identity)
    jitter = 1.0 + FEATURE_JITTER * uniform(4 * len(FEATURES), "features", seed, identity)
    usual = np.array([place for place, _ in FEATURES], np.float32)
    places = usual * jitter.reshape(-1, 4)
    for place, (_, colour) in zip(places.tolist(), FEATURES, strict=True):
        feature_x, feature_y, width, height = place
        distance_x = (np.abs(x) - feature_x) / width
        distance_y = (y - feature_y) / height
        distance = np.square(distance_x) + np.square(distance_y)
        colours += column(colour) * np.square(np.maximum(1.0 - distance, 0.0))
    # The mean is the same for all, so that it takes more than an average colour to tell them apart.
    colours += column(SKIN) - mean_inside(colours, inside)
    sharp = np.stack([*colours, 255.0 * inside], axis=-1)
    return to_bytes(sharp), to_bytes(blurred(sharp))


def pattern(seed: int, identity: int) -> np.ndarray:
    """Returns what only this identity has, [3, SIDE, SIDE]."""
    layers = np.zeros((4, SIDE, SIDE), np.float32)
    for cells, share in IDENTITY_SCALES.items():
        layers += share * smooth_noise(4, cells, SIDE, ("pattern", seed, identity))
    mirrored = layers[..., ::-1]
    layers = (1.0 + ASYMMETRY) * layers + (1.0 - ASYMMETRY) * mirrored
    grey = layers[:1]
    coloured = layers[1:]
    return IDENTITY_STRENGTH * (grey + IDENTITY_COLOUR * coloured)


def mean_inside(colours: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the mean colour of the face, [3, 1, 1].

    It is computed in integers, whose sum is the same in any order.
    """
    weights = (256.0 * inside).astype(np.int64)
    weighted = (256.0 * colours).astype(np.int64) * weights
    total = weighted.sum((1, 2))
    return column(total / (256 * weights.sum()))


def blurred(texture: np.ndarray) -> np.ndarray:
    """Returns the texture with each pixel mixed with its neighbours, some steps away."""
    for step in BLUR_STEPS:
        for axis in (0, 1):
            before = np.roll(texture, -step, axis)
            after = np.roll(texture, step, axis)
            texture = 0.5 * texture + 0.25 * (before + after)
    return texture


def softened(sharp: np.ndarray, soft: np.ndarray, draws: Iterator[float]) -> np.ndarray:
    """Returns a face between the sharp one and the blurred one, [SIDE * SIDE, 4] float32."""
    blur = between(0.0, BLUR_STRENGTH, draws)
    texture = mix(sharp.astype(np.float32), soft.astype(np.float32), blur)
    return texture.reshape(-1, 4)


def posed(texture: np.ndarray, size: int, draws: Iterator[float]) -> np.ndarray:
    """Returns what each pixel sees of the texture, [4, size, size].

    A pixel lies between four neighbours of the texture, and sees them mixed.
    """
    tangent = POSE_ROTATION * next(draws)
    shear = POSE_SHEAR * next(draws)
    cosine = (1.0 - tangent * tangent) / (1.0 + tangent * tangent)
    sine = 2.0 * tangent / (1.0 + tangent * tangent)
    scale = SIDE / 2.0 / SPAN
    width = scale * (1.0 + POSE_SCALE * next(draws))
    height = scale * (1.0 + POSE_SCALE * next(draws))
    across = centres(size) + POSE_SHIFT * next(draws)
    down = centres(size) + POSE_SHIFT * next(draws)
    # [x, y] = [[width, 0], [0, height]] [[1, shear], [0, 1]] [[cosine, sine], [-sine, cosine]]
    # [across, down]
    x_across = width * (cosine - shear * sine) * across
    x_down = width * (sine + shear * cosine) * down
    y_across = -height * sine * across
    y_down = height * cosine * down
    left, share_x = within_texture(x_across + x_down[:, None])
    top, share_y = within_texture(y_across + y_down[:, None])
    corner = (SIDE * top + left).astype(np.intp)
    below = corner + SIDE
    upper = mix(texture.take(corner, 0), texture.take(corner + 1, 0), share_x)
    lower = mix(texture.take(below, 0), texture.take(below + 1, 0), share_x)
    seen = mix(upper, lower, share_y)
    return np.ascontiguousarray(seen.transpose(2, 0, 1))


def within_texture(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the texture's pixel before a place, and how far it is to the next one.

    Args:
        place: [size, size] pixels of the texture, counted from its middle.

    Returns:
        [size, size] whole numbers, and [size, size, 4]: the share, for each of the four colours.
    """
    place = np.clip(place + (SIDE - 1) / 2.0, 0.0, SIDE - 1.001)
    before = np.floor(place)
    share = np.repeat(place - before, 4)
    return before, share.reshape(*place.shape, 4)


@lru_cache(maxsize=2 * SCENES)
def scene(seed: int, size: int, number: int) -> np.ndarray:
    """Returns a surface, from almost plain to busy: [3, size, size]."""
    plain = column(uniform(3, "plain", seed, number))
    cells = 2 + number % 7
    noise = smooth_noise(3, cells, size, ("scene", seed, number))
    return 128.0 + SCENE_STRENGTH * (plain + noise)


@lru_cache(maxsize=2)
def grains(seed: int) -> np.ndarray:
    """Returns the noise of which each image's is a piece.

    To draw it anew would take longer than to pose the face.
    """
    return uniform(GRAINS, "grains", seed)


def occlude(picture: np.ndarray, before: np.ndarray, draws: Iterator[float]) -> None:
    """Covers a part of the picture by the scene before it."""
    size = picture.shape[-1]
    least, most = OCCLUSION_SIDE
    height = int(size * between(least, most, draws))
    width = int(size * between(least, most, draws))
    top = pick(size - height + 1, draws)
    left = pick(size - width + 1, draws)
    bottom = top + height
    right = left + width
    picture[:, top:bottom, left:right] = before[:, top:bottom, left:right]


def light(picture: np.ndarray, draws: Iterator[float]) -> None:
    """Lights the picture from a side, and changes its colours."""
    across = centres(picture.shape[-1])
    gain = 1.0 + LIGHT_GAIN * next(draws)
    slope_x = gain * LIGHT_GRADIENT * next(draws)
    slope_y = gain * LIGHT_GRADIENT * next(draws)
    from_left = gain + slope_x * across
    from_top = slope_y * across
    picture *= from_left + from_top[:, None]
    gains = [1.0 + COLOUR_GAIN * next(draws) for _ in "rgb"]
    picture *= column(gains)
    offsets = [COLOUR_OFFSET * next(draws) for _ in "rgb"]
    picture += column(offsets)
