"""Names that people gave stay names, and a search says which of them are matches."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bct_keras import artefacts
from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder
from bct_keras.gallery import bundling, run
from bct_keras.gallery.facts import BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.metrics.odds import Odds
from bct_keras.prepare.run import prepare

PEOPLE = ("Ada", "Björn Ü", "山田", "Zoë")
SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Makes photos in folders of people's names, and a data set of them."""
    folder = tmp_path_factory.mktemp("names")
    colours = np.array([[250, 9, 9], [9, 250, 9], [9, 9, 250], [250, 250, 9]], np.uint8)
    for person, colour in zip(PEOPLE, colours, strict=True):
        (folder / "photos" / person).mkdir(parents=True)
        for number in range(2):
            pixels = np.broadcast_to(colour - 4 * number, (SIZE, SIZE, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / person / f"{number}.png")
    split = "class(test_share=0.5)"
    prepare(f"folder({folder}/photos, image_size={SIZE})", split, folder / "data")
    return folder


def test_a_data_set_knows_the_names_of_its_folders(folder):
    whole = open_data_set(folder / "data")
    assert whole.identity_names == sorted(PEOPLE)
    parts = [open_data_set(folder / "data" / view).identity_names for view in ("all", "test")]
    assert [*(parts[0] or []), *(parts[1] or [])] == sorted(PEOPLE)


def test_of_a_set_without_names_labels_are_numbers(data_root):
    assert open_data_set(data_root / "test").identity_names is None


@pytest.mark.parametrize("names", ['{"names": ["a"]}', '{"names": [1, 2, 3, 4]}', "[]", "nothing"])
def test_damaged_names_are_refused(folder, tmp_path, names):
    (tmp_path / "all").mkdir()
    for name in ("shards", artefacts.TABLE):
        (tmp_path / name).symlink_to(folder / "data" / name)
    manifest = (folder / "data" / "all" / "manifest.json").read_text()
    (tmp_path / "all" / "manifest.json").write_text(manifest)
    (tmp_path / "names.json").write_text(names)
    with pytest.raises(InputError, match=r"names\.json"):
        _ = open_data_set(tmp_path / "all").identity_names
    outside = manifest.replace("../names.json", "../../etc/names.json")
    (tmp_path / "all" / "manifest.json").write_text(outside)
    with pytest.raises(InputError, match="where they cannot be"):
        open_data_set(tmp_path / "all")


@pytest.fixture(scope="module")
def made(folder, tiny_encoder_path) -> dict[str, str]:
    """Makes a gallery by a device's file, with what its cosines stand for."""
    encoder = keras_encoder(tiny_encoder_path(8))
    export(Source(encoder), ["tflite"], folder / "exported", Checks())
    file = folder / "exported" / "encoder.tflite"
    gallery = f"file({folder}/people.gallery)"
    run.add(gallery, data=folder / "data", encoder=file)
    own = load_encoder(file).fingerprint
    odds = Odds.of_pairs(np.linspace(0.5, 1.0, 99), np.linspace(-1.0, 0.9, 9999)).facts()
    with FileGallery(str(folder / "people.gallery")) as opened:
        opened.declare(Compatibility(own, own, "", "", BY_EMBEDDING, odds))
    return {"encoder": str(file), "gallery": gallery}


def test_a_search_tells_names_and_which_are_matches(folder, made):
    photo = str(folder / "photos" / "Björn Ü" / "1.png")
    (found,) = run.search(made["gallery"], made["encoder"], [photo], top=8, far=1e-3)
    assert found.matches[0].label == "Björn Ü"
    lines = str(found).splitlines()
    assert lines[1].split() == ["at", "0.001", "false", "accepts", "label", "encoder", "id"]
    assert lines[2].split()[0] == "match"
    assert lines[-1].split()[:2] == ["no", "match"]
    facts = json.loads(json.dumps(found.facts()))
    assert facts["query"] == photo
    assert facts["matches"][0]["word"] == "match"
    assert facts["matches"][0]["false_accepts"] <= 1e-3 < facts["matches"][-1]["false_accepts"]


def test_without_a_calibration_nobody_knows_what_is_a_match(folder, made, tmp_path):
    photo = str(folder / "photos" / "Ada" / "0.png")
    gallery = f"file({tmp_path}/people.gallery)"
    run.add(gallery, data=folder / "data", encoder=made["encoder"])
    (found,) = run.search(gallery, made["encoder"], [photo], far=1e-3)
    assert {each["word"] for each in found.facts()["matches"]} == {"not known"}
    (found,) = run.search(gallery, made["encoder"], [photo])
    assert "word" not in found.facts()["matches"][0]
    web = page(tmp_path / "web")
    with pytest.raises(InputError, match="no report says what its cosines"):
        run.bundle(gallery, made["encoder"], tmp_path / "out", far=1e-3, page=web)
    assert not (tmp_path / "out").exists()


def page(web: Path) -> Path:
    """Makes what a bundle takes of the page, without npm."""
    for name in bundling.RUN_TIME:
        (web / "node_modules" / name).parent.mkdir(parents=True, exist_ok=True)
        (web / "node_modules" / name).write_text(name)
    for path in bundling.PAGE.iterdir():
        if path.is_file():
            (web / path.name).write_bytes(path.read_bytes())
    return web


def test_a_bundle_has_all_that_a_device_needs(made, folder, tmp_path):
    web, out = page(tmp_path / "web"), tmp_path / "device"
    said = []
    run.bundle(made["gallery"], made["encoder"], out, far=1e-3, page=web, say=said.append)
    assert json.loads((out / "bundle.json").read_text()) == {
        "model": "encoder.tflite",
        "gallery": "people.gallery",
        "far": 0.001,
    }
    for name in ("encoder.tflite", "people.gallery"):
        source = folder / name if name == "people.gallery" else Path(made["encoder"])
        assert (out / name).read_bytes() == source.read_bytes()
    for name in ("index.html", "page.js", "search.js", "style.css"):
        assert (out / name).is_file()
    assert all((out / "node_modules" / name).is_file() for name in bundling.RUN_TIME)
    assert "http.server" in said[0]


def test_the_packages_of_npm_may_lie_in_a_folder_of_ones_own(made, tmp_path, monkeypatch):
    """As they have to where the page came in a wheel."""
    web, out = page(tmp_path / "web"), tmp_path / "device"
    (web / "node_modules").rename(tmp_path / "node_modules")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(InputError) as refused:
        run.bundle(made["gallery"], made["encoder"], out, page=web)
    said, way_on = refused.value.args
    assert said.startswith("node_modules does not have LiteRT.js")
    assert way_on == f"npm install --prefix . --no-save --no-package-lock {bundling.LITERT}"
    run.bundle(made["gallery"], made["encoder"], out, page=web, npm=tmp_path)  # named
    first = bundling.RUN_TIME[0]
    assert (out / "node_modules" / first).read_text() == first
    monkeypatch.chdir(tmp_path)
    run.bundle(made["gallery"], made["encoder"], tmp_path / "other", page=web)  # found
    assert (tmp_path / "other" / "node_modules" / first).is_file()


def test_the_version_to_install_is_that_of_the_page():
    wanted = json.loads((bundling.PAGE / "package.json").read_text())["dependencies"]
    assert [f"{name}@{version}" for name, version in wanted.items()] == [bundling.LITERT]


def test_a_bundle_that_could_not_work_is_refused(made, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "page.js").touch()
    with pytest.raises(InputError, match="npm install"):
        run.bundle(made["gallery"], made["encoder"], tmp_path / "out", page=tmp_path / "empty")
    with pytest.raises(InputError, match="holds no page"):
        run.bundle(made["gallery"], made["encoder"], tmp_path / "out", page=tmp_path)
    web = page(tmp_path / "web")
    with pytest.raises(InputError, match=r"embeds by a \.tflite file"):
        run.bundle(made["gallery"], tmp_path / "encoder.keras", tmp_path / "out", page=web)
    stranger = KnownEncoder("9" * 64, 8, "stranger")
    with FileGallery(str(tmp_path / "other.gallery")) as gallery:
        gallery.add(stranger, ["a"], ["a"], np.ones((1, 8)))
    other = f"file({tmp_path}/other.gallery)"
    with pytest.raises(InputError, match="not known to be compatible"):
        run.bundle(other, made["encoder"], tmp_path / "out", page=web)
