"""The command explain: its page, and what it says of bad input.

The heat itself is tested in heat_test.py.
"""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bct_keras.backbones import BACKBONES
from bct_keras.encoders import KerasEncoder, keras_file_encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.explain import run
from bct_keras.explain.examples import KINDS
from bct_keras.explain.heat_maps import FOR_ANY, FOR_KERAS
from bct_keras.explain.run import explain
from bct_keras.prepare.run import prepare


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> tuple[KerasEncoder, KerasEncoder]:
    folder = tmp_path_factory.mktemp("encoders")
    for seed, name in enumerate(("old", "new")):
        keras.utils.set_random_seed(seed)
        BACKBONES["iresnet_small"](28, 8, width=8).save(folder / f"{name}.keras")
    return keras_file_encoder(folder / "old.keras", {}), keras_file_encoder(
        folder / "new.keras", {}
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three identities of two images, so three queries: each is seen 8 times, with all maps."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    prepare("synthetic(identities=3, images=2, image_size=28)", "none", folder)
    return folder


@pytest.fixture(scope="module")
def explained(encoders, data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reports") / "look"
    explain(encoders[0], encoders[1], data, out)
    return out


def pages_pictures(text: str) -> list[str]:
    return re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', text)


def test_page_shows_each_example_by_both_encoders(explained):
    found = json.loads((explained / "explain.json").read_text())
    text = (explained / "explain.html").read_text()
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    # three queries, of which so many of each kind are shown
    assert len(found["examples"]) == sum(
        min(round(3 * found["shares"][kind.name]), kind.shown) for kind in KINDS
    )
    # A query and an image of the gallery, of two pairs, by two tests: each as it is and with
    # every map.
    views = len(found["examples"]) * 2 * 2 * 2
    assert len(pages_pictures(text)) == views * (1 + len(FOR_KERAS) + len(FOR_ANY))
    for example in found["examples"]:
        assert f"Query {example['query']}" in text
        own, other = example["pairs"]
        assert (own["same identity"], other["same identity"]) == (True, False)
        identity = Path(example["query"]).parent
        assert Path(own["found"]).parent == identity != Path(other["found"]).parent
        for cosine in (*own["cosine"].values(), *other["cosine"].values()):
            assert f"<b>{cosine:.3f}</b>" in text


def test_cosines_tell_what_the_kind_says(explained):
    for example in json.loads((explained / "explain.json").read_text())["examples"]:
        own, other = (pair["cosine"] for pair in example["pairs"])
        if example["kind"] == "negative flip":
            assert own["old/old"] > other["old/old"]
        if example["kind"] == "positive flip":
            assert own["new/old"] > other["new/old"]


def test_page_needs_nothing_from_elsewhere(explained):
    text = (explained / "explain.html").read_text()
    for place in re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)""", text):
        assert "".join(place).startswith(("data:image/jpeg;base64,", "#"))
    assert not re.search(r"https?:|@import|<script", text)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert text.count("<svg") == 2
    assert len(names) == len(set(names))


def test_report_is_an_artefact_that_is_made_once(encoders, explained, data):
    manifest = json.loads((explained / "manifest.json").read_text())
    assert manifest["kind"] == "explanation"
    assert manifest["made_from"]["old"] == encoders[0].fingerprint
    assert sorted(path.name for path in explained.iterdir()) == [
        *("explain.html", "explain.json", "manifest.json", "map_pca.png", "map_tsne.png")
    ]
    before = {path: path.stat().st_mtime_ns for path in explained.iterdir()}
    assert explain(encoders[0], encoders[1], data, explained) == json.loads(
        (explained / "explain.json").read_text()
    )
    assert {path: path.stat().st_mtime_ns for path in explained.iterdir()} == before


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two identities of two images, of other sizes than the encoder's."""
    random = np.random.default_rng(0)
    for identity in ("anna", "bo"):
        (tmp_path / "my photos" / identity).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (40, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "my photos" / identity / f"{number}.png")
    return tmp_path / "my photos"


def test_a_folder_of_photos_and_an_old_encoder_without_gradients(encoders, photos, tmp_path):
    path = tmp_path / "old.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(encoders[0].model).convert())
    found = explain(load_encoder(path), encoders[1], photos, tmp_path / "look")
    assert {each["query"] for each in found["examples"]} == {"anna/1.png", "bo/1.png"}
    assert found["encoders"]["old"] == {"layer": None, "grid": None}
    text = (tmp_path / "look" / "explain.html").read_text()
    assert "The old encoder has no gradients" in text
    # of the old encoder the image and occlusion, of the new one, which sees a query once in each
    # pair, all of them
    by_old, by_new = 1 + len(FOR_ANY), 1 + len(FOR_KERAS) + len(FOR_ANY)
    assert len(pages_pictures(text)) == 2 * 2 * (3 * by_old + by_new)


@pytest.mark.parametrize(
    ("identities", "said"),
    [
        (0, "0 identities with images found, at least 2 are needed"),
        (1, "1 identities with images found"),
    ],
)
def test_too_few_identities_are_told(encoders, photos, tmp_path, identities, said):
    for name in ("anna", "bo")[identities:]:
        (photos / name).rename(tmp_path / name)
    with pytest.raises(InputError, match=said):
        explain(encoders[0], encoders[1], photos, tmp_path / "look")
    assert not (tmp_path / "look").exists()


def test_identities_of_one_image_are_told(encoders, photos, tmp_path):
    for name in ("anna", "bo"):
        (photos / name / "1.png").unlink()
    with pytest.raises(
        InputError, match="every identity has one image; a query needs a second one"
    ):
        explain(encoders[0], encoders[1], photos, tmp_path / "look")


def test_a_place_without_images_is_told(encoders, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        explain(encoders[0], encoders[1], tmp_path / "nowhere", tmp_path / "look")


def test_stored_embeddings_are_told_before_any_work(encoders, data, tmp_path):
    np.savez(tmp_path / "old.npz", embeddings=np.eye(8), ids=np.array(list("abcdefgh")))
    with pytest.raises(InputError, match=r"old\.npz holds stored embeddings"):
        explain(load_encoder(tmp_path / "old.npz"), encoders[1], data, tmp_path / "look")


def test_a_missing_extra_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"explain needs tf_keras_vis, .* pip install -e '.\[explain\]'"
    ):
        run.check_installed()
