"""Tests a tiny IJB-C: real JPEGs, all the meta files, rows per image in the lists."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import BadImageError, InputError
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.ijb.alignment import TEMPLATE
from bct_keras.evaluate.ijb.protocol import IJBB, IJBC
from bct_keras.evaluate.run import evaluate

SUBJECTS, PROBES = (
    8,
    6,
)  # one gallery template each, and so many probe templates each; three images a template
TEMPLATES = SUBJECTS * (1 + PROBES)


def subject_of(template: int) -> int:
    return 100 + template % SUBJECTS


def write_tree(folder: Path, name: str = "ijbc", galleries: tuple[str, str] = ("G1", "G2")) -> Path:
    (folder / "meta").mkdir(parents=True)
    (folder / "loose_crop").mkdir()
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (SUBJECTS, 3))
    tids, points = [], []
    for image in range(3 * TEMPLATES):
        template = image // 3
        width, height = (int(side) for side in random.integers(50, 90, 2))
        pixels = (
            colours[template % SUBJECTS]
            + random.normal(0, 30, (height, width, 3))
            + random.normal(0, 12, 3)
        )
        file = folder / "loose_crop" / f"{image + 1}.jpg"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file)
        face = TEMPLATE * min(width, height) / 112 + random.normal(0, 1, (5, 2))
        points.append(
            f"{file.name} {' '.join(f'{each:.3f}' for each in face.ravel())}"
            f" {random.uniform(0.5, 1):.6f}"
        )
        tids.append(
            f"{file.name} {template + 1} {image // 2 + 1}"
        )  # a media now and then has two images
    pairs = [
        f"{first + 1} {second + 1} {int(subject_of(first) == subject_of(second))}"
        for first in range(SUBJECTS)
        for second in range(SUBJECTS, TEMPLATES)
    ]
    files = {"name_5pts_score": points, "face_tid_mid": tids, "template_pair_label": pairs}
    for file, lines in files.items():
        (folder / "meta" / f"{name}_{file}.txt").write_text("\n".join(lines) + "\n")
    lists = {
        f"gallery_{gallery}": range(half, SUBJECTS, 2) for half, gallery in enumerate(galleries)
    }
    for file, listed in {**lists, "probe_mixed": range(SUBJECTS, TEMPLATES)}.items():
        rows = [
            f"{each + 1},{subject_of(each)},img/{3 * each + n}.jpg,1"
            for each in listed
            for n in range(3)
        ]
        (folder / "meta" / f"{name}_1N_{file}.csv").write_text(
            "\n".join(["TEMPLATE_ID,SUBJECT_ID,FILE,X", *rows])
        )
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("ijb") / "IJBC")


@pytest.fixture
def own_tree(tree, tmp_path) -> Path:
    shutil.copytree(tree, tmp_path / "IJBC")
    return tmp_path / "IJBC"


# 8 * 48 - 8 * 6 impostor pairs, of which FAR 1e-2 accepts three
FEW_PAIRS = (
    "TAR@FAR=1e-2 as published, but not to be relied on: fewer than 10 of 336 impostor pairs would"
    " be accepted, so that the threshold would be chance"
)


def meta(folder: Path, name: str) -> Path:
    (path,) = (folder / "meta").glob(f"*{name}*")
    return path


def with_line(path: Path, number: int, line: str | None) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [] if line is None else [line]
    path.write_text("\n".join(lines) + "\n")


class CountingEncoder(Encoder):
    """Embeds by the mean colours of the upper and lower half; counts the images it is given."""

    def __init__(self, scale: float = 1.0):
        super().__init__(Path(f"counting{scale}.keras"), 28, 6)
        self.scale, self.images = scale, 0
        self.fingerprint = f"counting{scale}"

    def embed(self, images: np.ndarray) -> np.ndarray:
        self.images += len(images)
        halves = images.reshape(len(images), 2, 14 * 28, 3).mean(2).reshape(len(images), 6)
        return (self.scale * halves - 128).astype(np.float32)


def test_a_tree_goes_end_to_end(tree, tiny_encoder_path, tmp_path):
    old, new = (load_encoder(tiny_encoder_path(dims)) for dims in (8, 8))
    spec = f"ijbc({tree})"
    evaluate(old, new, [spec], tmp_path / "reports" / "ijbc")
    result = json.loads((tmp_path / "reports" / "ijbc" / "report.json").read_text())["protocols"][
        spec
    ]
    # 8 * 48 - 8 * 6 = 336 impostor pairs: FAR 1e-2 and 1e-1 can be told from zero.
    rates = ["TPIR@FPIR=1e-3", "TPIR@FPIR=1e-2", "TPIR@FPIR=1e-1", "top-1", "top-5", "top-10"]
    metrics = ["TAR@FAR=1e-2", "TAR@FAR=1e-1", *rates]
    for test in ("old/old", "new/old", "new/new"):
        assert list(result[test]) == metrics
        assert all(0 <= value <= 1 for value in result[test].values())
    assert result["notes"] == [FEW_PAIRS]
    assert result["old/old"]["top-1"] > 0.3  # 1 of 4 by chance
    assert len(list((tmp_path / "reports" / "embeddings").glob("*.npy"))) == 2


def test_ijbb_has_names_of_its_own(tmp_path):
    folder = write_tree(tmp_path / "IJBB", "ijbb", ("S1", "S2"))
    query, gallery = IJBB(str(folder)).embed(CountingEncoder())
    assert query.embeddings.shape == (TEMPLATES, 6)
    assert query is gallery


def test_a_second_metric_embeds_nothing(tree, tmp_path):
    cache, encoder = EmbeddingCache(tmp_path / "cache"), CountingEncoder()
    first = IJBC(str(tree), cache=cache).embed(encoder).query
    assert encoder.images == 2 * 3 * TEMPLATES  # and their mirror images
    again = IJBC(str(tree), cache=cache).embed(encoder).query
    other = (
        IJBC(str(tree), detector_score=False, normalise_first=True, cache=cache)
        .embed(encoder)
        .query
    )
    assert encoder.images == 2 * 3 * TEMPLATES
    np.testing.assert_array_equal(first.embeddings, again.embeddings)
    assert np.abs(first.embeddings - other.embeddings).max() > 1e-4
    IJBC(str(tree), flip=False, cache=cache).embed(encoder)
    assert encoder.images == 3 * 3 * TEMPLATES


def test_another_image_or_encoder_is_embedded_anew(own_tree, tmp_path):
    cache, encoder = EmbeddingCache(tmp_path / "cache"), CountingEncoder()
    IJBC(str(own_tree), cache=cache).embed(encoder)
    other = CountingEncoder(scale=0.5)
    IJBC(str(own_tree), cache=cache).embed(other)
    assert other.images == encoder.images
    Image.new("RGB", (60, 60)).save(own_tree / "loose_crop" / "1.jpg")
    IJBC(str(own_tree), cache=cache).embed(other)
    assert other.images == 2 * encoder.images


def test_each_image_counts_once_for_its_media_and_by_its_score(tree):
    protocol, encoder = IJBC(str(tree)), CountingEncoder()
    features = protocol.aligned.embed(encoder, flip=True, on_bad="fail")
    # Images 4, 5 and 6 of template 2 are in the medias 2, 3 and 3.
    scores = protocol.images.scores
    total = scores[3] * features[3] + (scores[4] * features[4] + scores[5] * features[5]) / 2
    found = protocol.embed(encoder).query.embeddings[1]
    np.testing.assert_allclose(found, total / np.linalg.norm(total), atol=1e-6)


@pytest.mark.parametrize(
    ("file", "number", "line", "message"),
    [
        ("tid_mid", 5, "5.jpg 2", r"tid_mid\.txt, line 5: an image, a template and a media"),
        ("tid_mid", 168, None, r"tid_mid\.txt has no line for image '168\.jpg' .*line 168"),
        ("5pts", 7, "7.jpg 1 2 3", r"5pts_score\.txt, line 7: .*12 columns"),
        ("5pts", 7, "7.jpg 1 2 3 4 5 6 7 8 9 10 nan", r"5pts_score\.txt, line 7"),
        (
            "5pts",
            7,
            "../7.jpg 1 2 3 4 5 6 7 8 9 10 1",
            r"line 7: '\.\./7\.jpg' is no name of an image",
        ),
        ("5pts", 168, None, r"tid_mid\.txt has 168 images and .* 167; .*'168\.jpg'"),
        ("pair_label", 9, "1 20", r"pair_label\.txt, line 9: 3 whole numbers"),
        ("pair_label", 9, "1 20 2", r"pair_label\.txt: pair 9 has the label 2"),
        ("pair_label", 9, "1 999 0", r"pair_label\.txt, entry 9: template 999 has no image"),
        (
            "gallery_G1",
            3,
            "1,107,a.jpg,1",
            r"gallery_G1\.csv, line 3: template 1 is subject 107 here and 100 before",
        ),
        (
            "gallery_G1",
            5,
            "9,100,a.jpg,1",
            r"gallery_G1\.csv: subject 100 is in the gallery twice \(templates 1 and 9",
        ),
        ("gallery_G2", 2, "x,107,a.jpg,1", r"gallery_G2\.csv, line 2: a template and a subject"),
        ("probe", 4, "998,100,a.jpg,1", r"probe_mixed\.csv, entry \d+: template 998 has no image"),
    ],
)
def test_bad_meta_files_are_named(own_tree, file, number, line, message):
    with_line(meta(own_tree, file), number, line)
    with pytest.raises(InputError, match=message):
        IJBC(str(own_tree))


@pytest.mark.parametrize("file", ["tid_mid", "5pts", "pair_label", "gallery_G1", "probe"])
def test_an_empty_meta_file_is_named(own_tree, file):
    path = meta(own_tree, file)
    path.write_text("")
    with pytest.raises(InputError, match=f"{path.name} is empty"):
        IJBC(str(own_tree))


def test_a_missing_image_is_named_or_left_out(own_tree):
    (own_tree / "loose_crop" / "5.jpg").unlink()
    with pytest.raises(BadImageError, match=r"5\.jpg: no such image, and 0 more"):
        IJBC(str(own_tree))
    protocol = IJBC(str(own_tree), on_bad="skip")
    whole = (
        IJBC(str(write_tree(own_tree.parent / "whole"))).embed(CountingEncoder()).query.embeddings
    )
    found = protocol.embed(CountingEncoder()).query.embeddings
    same = np.isclose(found, whole, atol=1e-6).all(1)
    assert np.flatnonzero(~same).tolist() == [1]  # template 2 is made of images 4 to 6
    assert protocol.notes([CountingEncoder()]) == [
        (
            "1 of 168 images were left out of their templates for counting1.0.keras (missing,"
            " damaged, or without a finite embedding; on_bad=skip)"
        ),
        FEW_PAIRS,
    ]


def test_a_damaged_image_is_named_or_left_out(own_tree):
    path = own_tree / "loose_crop" / "5.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadImageError, match=r"loose_crop/5\.jpg"):
        IJBC(str(own_tree)).embed(CountingEncoder())
    protocol = IJBC(str(own_tree), on_bad="skip")
    protocol.embed(CountingEncoder())
    assert len(protocol.notes([CountingEncoder()])) == 2


def test_an_embedding_that_is_not_finite_is_named(tree):
    encoder = CountingEncoder()
    embed = encoder.embed
    encoder.embed = lambda images: np.where(
        np.arange(len(images))[:, None] == 3, np.nan, embed(images)
    )
    with pytest.raises(
        BadImageError, match=r"counting1\.0\.keras gives no finite embedding for .*/4\.jpg"
    ):
        IJBC(str(tree)).embed(encoder)
    protocol = IJBC(str(tree), on_bad="skip")
    assert np.isfinite(protocol.embed(encoder).query.embeddings).all()
    assert protocol.notes([encoder])[0].startswith("1 of 168 images")


def test_a_template_without_any_image_is_an_error_also_with_skip(own_tree):
    for image in (4, 5, 6):
        (own_tree / "loose_crop" / f"{image}.jpg").unlink()
    with pytest.raises(InputError, match="no image of template 2 can be used"):
        IJBC(str(own_tree), on_bad="skip").embed(CountingEncoder())
