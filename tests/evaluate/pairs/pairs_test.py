import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_curve

from bct_keras import specs
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import compatibility
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.pairs.protocol import LFW, Pairs
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.evaluate.run import evaluate
from bct_keras.metrics.verification import Embedded

PAIRS = 40


class Left(Encoder):
    """Embeds by the image's left column and its mean, times a matrix.

    The embedding is another one when the image is mirrored.
    """

    def __init__(self, seed: int, size: int = 12):
        super().__init__(Path(f"left-{seed}"), image_size=size, dims=8)
        self.fingerprint = f"left-{seed}"
        self.matrix = np.random.default_rng(seed).normal(size=(6 * size, 8))

    def embed(self, images: np.ndarray) -> np.ndarray:
        flat = images.astype(np.float64) - 128
        column, mean = flat[:, :, 0].reshape(len(images), -1), flat.mean(2).reshape(len(images), -1)
        return (np.concatenate([column, mean], axis=1) @ self.matrix).astype(np.float32)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Returns [2 * PAIRS, 12, 12, 3]: of every two pairs the first shows one identity."""
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (2 * PAIRS, 12, 12, 3)).astype(np.float64)
    for pair in range(0, PAIRS, 2):
        faces[2 * pair + 1] = faces[2 * pair]
    return np.clip(faces + random.normal(0, 30, faces.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def same() -> np.ndarray:
    return np.arange(PAIRS) % 2 == 0


def write_bin(path: Path, images: list, same: list) -> str:
    path.write_bytes(pickle.dumps((images, same)))
    return str(path)


@pytest.fixture
def bin_path(pixels, same, tmp_path) -> str:
    return write_bin(tmp_path / "set.bin", [png(image) for image in pixels], same.tolist())


def embedded(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """Returns embeddings as published: the image plus its mirror image, then length 1."""
    return normalised(
        np.stack(
            [
                encoder.embed(image[None])[0] + encoder.embed(image[None, :, ::-1])[0]
                for image in pixels
            ]
        )
    )


def test_the_second_image_is_the_query_and_the_first_is_in_the_gallery(bin_path, pixels):
    query, gallery = Pairs(bin_path).embed(Left(1))
    np.testing.assert_allclose(
        gallery.embeddings, embedded(Left(1), pixels[0::2]), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        query.embeddings, embedded(Left(1), pixels[1::2]), rtol=1e-5, atol=1e-6
    )


def test_self_and_cross_tests(bin_path, pixels, same):
    old, new = Left(1), Left(2)
    found = compatibility.self_and_cross_tests(
        specs.build(PROTOCOLS, f"pairs({bin_path})"), old, new
    )
    for test, (query, gallery) in {
        "old/old": (old, old),
        "new/old": (new, old),
        "new/new": (new, new),
    }.items():
        scores = np.sum(embedded(query, pixels[1::2]) * embedded(gallery, pixels[0::2]), axis=1)
        expected = PROTOCOLS["pairs"](bin_path).measure(
            Embedded(scores[:, None], np.arange(PAIRS)),
            Embedded(np.ones((PAIRS, 1)), np.arange(PAIRS)),
        )
        assert found[test] == pytest.approx(expected.metrics)
    assert found["old/old"]["accuracy"] > 0.8  # noise is less than the difference of two faces
    assert found["new/old"]["accuracy"] < 0.8  # and two random matrices have nothing in common
    assert found["above_old"] == {"accuracy": False}


def test_the_curve_is_that_of_scikit_learn(bin_path, same):
    random = np.random.default_rng(3)
    scores = random.normal(0.4 * same, 0.3).clip(-1, 1)[:, None]
    measured = PROTOCOLS["pairs"](bin_path).measure(
        Embedded(scores, np.arange(PAIRS)), Embedded(np.ones((PAIRS, 1)), np.arange(PAIRS))
    )
    assert measured.find_verification
    found = measured.find_verification()
    fars = [0.02, 0.1, 0.3]
    far, tar, _ = roc_curve(same, scores[:, 0], drop_intermediate=False)
    expected = [tar[far <= rate].max() for rate in fars]
    np.testing.assert_allclose([found.threshold_and_tar(rate)[1] for rate in fars], expected)


def test_the_report_of_a_verification_set(bin_path, tmp_path):
    report = evaluate(Left(1), None, [f"pairs({bin_path})"], tmp_path / "report")
    (result,) = report["protocols"].values()
    assert set(result) == {"old/old", "counts", "curves", "equal_error", "notes"}
    impostors = PAIRS // 2 * 9 // 10  # outside each of ten folds
    assert result["notes"] == [
        f"TAR@FAR=1e-2, TAR@FAR=1e-3 not measured: fewer than 10 of {impostors} impostor pairs"
        " would be accepted, so that the threshold would be chance"
    ]
    assert (tmp_path / "report/1_roc.png").is_file()
    written = json.loads((tmp_path / "report/report.json").read_text())
    assert written["protocols"] == report["protocols"]


def test_embeddings_are_kept_for_the_next_time(bin_path, tmp_path):
    class Once(Left):
        def embed(self, images: np.ndarray) -> np.ndarray:
            assert not (tmp_path / "embeddings").exists()
            return super().embed(images)

    cache = EmbeddingCache(tmp_path / "embeddings")
    first = specs.build(PROTOCOLS, f"pairs({bin_path})", cache=cache).embed(Once(1))
    again = specs.build(PROTOCOLS, f"pairs({bin_path})", cache=cache).embed(Once(1))
    for made, kept in zip(first, again, strict=True):
        np.testing.assert_array_equal(made.embeddings, kept.embeddings)


def test_stored_embeddings_have_no_images_to_embed(bin_path):
    encoder = Left(1)
    encoder.image_size = 0
    with pytest.raises(InputError, match="holds stored embeddings"):
        Pairs(bin_path).embed(encoder)


def test_images_of_another_size_are_resized(bin_path):
    query, gallery = Pairs(bin_path).embed(Left(1, size=16))
    assert query.embeddings.shape == gallery.embeddings.shape == (PAIRS, 8)


def write_lfw(folder: Path, pixels: np.ndarray, same: np.ndarray) -> Path:
    """Writes two folds; identities a0, a1, ... Each image is used in one pair."""
    half = PAIRS // 4
    lines = [f"2\t{half}"]
    for fold in range(2):
        rows = np.arange(fold * 2 * half, (fold + 1) * 2 * half)
        for row in [*rows[same[rows]], *rows[~same[rows]]]:
            names = [f"a{row}", f"a{row}" if same[row] else f"b{row}"]
            for side, name in enumerate(names):
                (folder / "images" / name).mkdir(parents=True, exist_ok=True)
                (folder / "images" / name / f"{name}_{side + 1:04d}.png").write_bytes(
                    png(pixels[2 * row + side])
                )
            lines.append(f"a{row}\t1\t2" if same[row] else f"a{row}\t1\tb{row}\t2")
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return folder / "pairs.txt"


def test_lfw_s_list_names_the_pairs(pixels, same, tmp_path):
    path = write_lfw(tmp_path, pixels, same)
    protocol = specs.build(PROTOCOLS, f"lfw({path}, images={tmp_path / 'images'})")
    assert protocol.pair_set.folds == 2
    np.testing.assert_array_equal(
        protocol.pair_set.same, np.tile(np.repeat([True, False], PAIRS // 4), 2)
    )
    order = [*np.flatnonzero(same[:20]), *np.flatnonzero(~same[:20])]
    order += [20 + row for row in order]
    query, gallery = protocol.embed(Left(1))
    np.testing.assert_allclose(
        gallery.embeddings, embedded(Left(1), pixels[0::2][order]), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        query.embeddings, embedded(Left(1), pixels[1::2][order]), rtol=1e-5, atol=1e-6
    )


def test_an_image_in_several_pairs_is_embedded_once(pixels, tmp_path):
    for name in "xy":
        (tmp_path / name).mkdir()
        for number in (1, 2):
            (tmp_path / name / f"{name}_{number:04d}.png").write_bytes(png(pixels[number]))
    (tmp_path / "pairs.txt").write_text("1 2\nx 1 2\ny 1 2\nx 1 y 1\nx 2 y 2\n")
    protocol = LFW(str(tmp_path / "pairs.txt"), str(tmp_path))
    assert len(protocol.pair_set.images) == 4
    assert protocol.pair_set.pairs.tolist() == [[0, 1], [2, 3], [0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: the number of folds"),
        ("10\n", "line 1: the number of folds"),
        ("0 5\n", "line 1: the number of folds"),
        ("1 1\nx 1 2\n", r"1 pairs, and its first line says 1 times 2 times 1"),
        ("1 1\nx 1\nx 1 y 1\n", "line 2: name a b was expected, not 'x 1'"),
        ("1 1\nx 1 2\n\n", "line 3: name a other b was expected, not ''"),
        ("1 1\nx 1 2\nx 1 y -1\n", "line 3: 'y' with image '-1' is no name and number"),
        ("1 1\n../x 1 2\nx 1 y 1\n", "line 2: '../x' with image '1' is no name and number"),
        ("1 1\n.. 1 2\nx 1 y 1\n", "line 2: '..' with image '1' is no name and number"),
        ("1 1\nx 1 2\nx 1 y 1\n", "line 3: there is no image .*y_0001.jpg"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, content, message):
    (tmp_path / "x").mkdir()
    for number in (1, 2):
        (tmp_path / f"x/x_{number:04d}.jpg").touch()
    (tmp_path / "pairs.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        LFW(str(tmp_path / "pairs.txt"), str(tmp_path))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([b"x"], "does not hold a list of images"),
        (([b"x"] * 6, [True] * 2), "6 images and 2 booleans"),
        (([b"x", 3], [True]), "image 1: bytes were expected, not int"),
        (([b"x", b"x"], ["yes"]), "pair 0: True or False was expected, not 'yes'"),
        (([b"x"] * 20, [True] * 10), "10 pairs of one identity and 0 of two"),
        (([b"x"] * 18, [True, False, True] * 3), "6 pairs of one identity and 3 of two"),
        (([b"x"] * 20, [True, False] * 5), "image 0: not a JPEG or PNG image"),
    ],
)
def test_a_bin_of_another_form_is_refused(tmp_path, value, message):
    (tmp_path / "set.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=message):
        Pairs(str(tmp_path / "set.bin"))


def test_an_image_that_is_cut_off_is_named(pixels, same, tmp_path):
    images = [png(image) for image in pixels]
    images[7] = images[7][:-30]
    with pytest.raises(InputError, match=r"set\.bin, image 7: "):
        Pairs(write_bin(tmp_path / "set.bin", images, same.tolist()))


def test_images_and_booleans_may_be_numpy_s(pixels, same, tmp_path):
    images = [np.frombuffer(png(image), np.uint8) for image in pixels]
    read = Pairs(write_bin(tmp_path / "set.bin", images, same))
    assert read.pair_set.images == [png(image) for image in pixels]
    np.testing.assert_array_equal(read.pair_set.same, same)


def test_an_embedding_that_is_not_finite_is_refused(bin_path):
    class Broken(Left):
        def embed(self, images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 8), np.nan, np.float32)

    with pytest.raises(InputError, match=r"no finite embedding for .*set\.bin, image 0"):
        Pairs(bin_path).embed(Broken(1))
