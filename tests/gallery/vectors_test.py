import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import vectors
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.file import FileGallery


def directions(*shape: int, seed: int = 0) -> np.ndarray:
    return vectors.unit(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("dims", [1, 2, 64, 129, 512])
def test_unpacking_gives_the_embedding_back(dims):
    units = directions(200, dims)
    packed = vectors.pack(units)
    # Half a step of 1 / 32,639 of the largest coordinate, and float32's own rounding of numbers
    # below 1.
    assert np.abs(vectors.unpack(packed) - units).max() <= np.abs(units).max() / 32_639 / 2 + 2e-7


def test_every_whole_number_survives_the_two_planes():
    whole = np.arange(-vectors.LARGEST, vectors.LARGEST + 1)
    # One row whose largest coordinate makes the scale 1.
    units = np.append(whole, vectors.LARGEST).astype(np.float32)[None]
    np.testing.assert_array_equal(vectors.unpack(vectors.pack(units)), units)


@pytest.mark.parametrize("dims", [3, 100, 512])
def test_coarse_scores_are_proportional_to_the_cosine(dims):
    entries, queries = directions(500, dims), directions(4, dims, seed=1)
    coarse = vectors.coarse_scores(vectors.pack(queries), vectors.pack(entries))
    exact = queries @ entries.T
    scaled = (
        coarse * (exact * coarse).sum(1, keepdims=True) / (coarse * coarse).sum(1, keepdims=True)
    )
    # Both roundings are to 1 / 127 of the largest coordinate; their errors add up like sqrt(dims),
    # and 8 sigma is wide.
    step = np.abs(entries).max() / 127
    assert np.abs(scaled - exact).max() < 8 * step * np.sqrt(2 / 12)


def test_a_search_finds_what_exact_search_finds_among_directions_without_any_order(tmp_path):
    """Takes random directions, the hardest case.

    The ten best of 20,000 are hardly nearer than the next hundred.
    """
    entries, queries = directions(20_000, 128), directions(100, 128, seed=1)
    path = str(tmp_path / "random.gallery")
    encoder = KnownEncoder("0" * 64, 128, "random")
    ids = [str(number) for number in range(20_000)]
    with FileGallery(path) as gallery:
        gallery.add(encoder, ids, ids, entries)
        matches = gallery.search(encoder.fingerprint, queries, 10)
    found = [[int(match.id) for match in ranked] for ranked in matches]
    exact = np.argsort(-(queries @ entries.T), axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
    assert recall >= 0.999


def test_best_are_the_largest_in_order_of_position():
    assert vectors.best(np.array([3.0, -np.inf, 9.0, 4.0, 8.0]), 3).tolist() == [2, 3, 4]
    assert vectors.best(np.array([3.0, 1.0]), 5).tolist() == [0, 1]


@pytest.mark.parametrize("embeddings", [np.ones(4), np.ones((2, 2, 2))])
def test_only_rows_of_embeddings_are_taken(embeddings):
    with pytest.raises(InputError, match="finite numbers"):
        vectors.unit(embeddings)
