import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from bct_keras.errors import InputError
from bct_keras.prepare.sources.synthetic import IMAGE_SIZES, Synthetic

# Made by this code at GENERATOR_VERSION 1: sha256 of the first six images' bytes, two identities of
# three. They guard "the same bytes on any machine". Who changes the images on purpose raises the
# version with them.
FIRST_IMAGES = {
    28: "cafc180bf015882390e7ab87bde5621d17c0998357ce3d5c3c3ad7dfe7d0a3ee",
    32: "11ffae9c8476f6c162e9f24b9db0c10aa16712a453cddce7abdf2c76a61fced3",
    64: "8bb0c8576303fc3706a7448d3a78746d80eeb88e0e342f4735fc8c65b6f164aa",
    112: "a016b9832a63c89e22d2e1b536cca513ee629607345b9aed39844ba2e03d6193",
}


def pixels(source: Synthetic, position: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(source.read(position).image)), np.float64)


def scores_of_pairs(similarity: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs of one identity, and of two."""
    first, second = np.triu_indices(len(labels), 1)
    same = labels[first] == labels[second]
    return similarity[first, second][same], similarity[first, second][~same]


def area_under_curve(same: np.ndarray, different: np.ndarray) -> float:
    """How often a pair of one identity scores higher than a pair of two."""
    return float(np.searchsorted(np.sort(different), same).mean() / len(different))


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    source = Synthetic(identities=40, images=10, seed=3)
    return np.stack([pixels(source, position) for position in range(400)]), source.labels


@pytest.mark.parametrize("image_size", FIRST_IMAGES)
def test_bytes_are_the_same_on_any_machine(image_size):
    source = Synthetic(identities=2, images=3, image_size=image_size, seed=0)
    images = b"".join(source.read(position).image for position in range(6))
    assert hashlib.sha256(images).hexdigest() == FIRST_IMAGES[image_size]


@pytest.mark.parametrize("image_size", [IMAGE_SIZES[0], 33, IMAGE_SIZES[-1]])
def test_images_are_whole_rgb_pngs(image_size):
    encoded = Synthetic(identities=2, images=1, image_size=image_size).read(1).image
    with Image.open(io.BytesIO(encoded)) as image:
        image.verify()  # the checksums of the chunks
    with Image.open(io.BytesIO(encoded)) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (image_size, image_size))


def test_channels_and_rows_stand_where_they_belong():
    # Hair is dark, cheeks are light, skin is more red than blue: true of the mean of many images
    # only.
    source = Synthetic(identities=200, images=1)
    mean = np.mean([pixels(source, position) for position in range(200)], axis=0)
    assert mean[18:20, 6:26].mean() > mean[3:5, 12:20].mean() + 20
    assert mean[16:20, 12:20, 0].mean() > mean[16:20, 12:20, 2].mean() + 20


def test_records_are_in_file_order():
    source = Synthetic(identities=13, images=8, seed=5)
    assert source.labels.tolist() == [identity for identity in range(13) for _ in range(8)]
    assert source.labels.dtype == np.int64
    assert source.identities[12] == "identity-00012"
    assert source.read(12 * 8 + 7).id == "synthetic-seed5/00012/007"
    with pytest.raises(IndexError):
        source.read(13 * 8)


def test_an_image_depends_on_its_numbers_not_on_how_many_there_are():
    few, many = (
        Synthetic(identities=4, images=3, seed=9),
        Synthetic(identities=400, images=50, seed=9),
    )
    for identity, image in [(0, 0), (1, 2), (3, 1)]:
        assert few.read(identity * 3 + image) == many.read(identity * 50 + image)


def test_an_image_does_not_depend_on_what_was_read_before():
    source = Synthetic(identities=3, images=2)
    forwards = [source.read(position) for position in range(6)]
    assert [source.read(position) for position in reversed(range(6))] == forwards[::-1]


def test_no_two_images_are_the_same():
    of_seeds = [Synthetic(identities=5, images=5, seed=seed) for seed in (0, 1)]
    images = {source.read(position).image for source in of_seeds for position in range(25)}
    assert len(images) == 50


def test_pixels_tell_a_little_of_the_identity(drawn):
    images, labels = drawn
    centred = images - images.mean((1, 2), keepdims=True)
    flat = (centred / centred.std((1, 2), keepdims=True)).reshape(len(images), -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    same, different = scores_of_pairs(flat @ flat.T, labels)
    assert same.mean() > different.mean() + 0.05
    accepted = np.mean(same > np.quantile(different, 0.999))
    assert accepted < 0.1  # were it high, there would be nothing left to learn


def test_mean_colours_do_not_tell_the_identity(drawn):
    images, labels = drawn
    colours = images.mean((1, 2))
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert 0.4 < area_under_curve(*scores_of_pairs(-distances, labels)) < 0.65


def test_fingerprint_changes_with_every_argument():
    changes = [{}, {"identities": 7}, {"images": 7}, {"image_size": 48}, {"seed": 7}]
    assert len({Synthetic(**change).fingerprint() for change in changes}) == len(changes)
    assert Synthetic(seed=7).fingerprint() == Synthetic(seed=7).fingerprint()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"identities": 1}, "identities=1: at least 2"),
        ({"images": 0}, "images=0: .* at least 1"),
        ({"image_size": 27}, "image_size=27: must be 28 to 112"),
        ({"image_size": 113}, "image_size=113: must be 28 to 112"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        Synthetic(**arguments)
