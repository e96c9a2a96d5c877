"""Compares the device example in export/edge/ with the gallery that wrote its file."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from gallery_readers.answers import by_python
from gallery_readers.mutations import mutated

import bct_keras as bct
from bct_keras.adapters.folding import with_adapter
from bct_keras.encoders import load_encoder
from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder
from bct_keras.gallery import file
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.metrics.odds import Odds

EDGE = Path(__file__).parents[2] / "export" / "edge"
GALLERIES = Path(__file__).parents[1] / "golden" / "galleries"
DIMS = 16
OLD = KnownEncoder("0" * 64, DIMS, "old")
NEW = KnownEncoder("1" * 64, DIMS, "new")
ODDS = Odds.of_pairs(np.linspace(0.0, 0.9, 99), np.linspace(-1.0, 0.4, 99)).facts()
FITS = Compatibility(NEW.fingerprint, OLD.fingerprint, "", "compatible")
# Runs a script where nothing of ours and no TensorFlow can be imported.
ALONE = """
import runpy, sys
for name in ("bct_keras", "keras", "tensorflow"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def search():
    sys.path.insert(0, str(EDGE))  # where the script's photo.py lies
    specification = importlib.util.spec_from_file_location("edge_search", EDGE / "search.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(EDGE))


@pytest.fixture
def mixed(tmp_path, monkeypatch) -> Path:
    """Makes several blocks; some entries are embedded anew, one of them twice."""
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 100)
    path, random = tmp_path / "people.gallery", np.random.default_rng(0)
    ids = [f"photo {number} ü.jpg" for number in range(450)]
    labels = [f"Zoë {number // 3}" for number in range(450)]
    with FileGallery(str(path)) as gallery:
        gallery.add(OLD, ids, labels, random.standard_normal((450, DIMS)))
        gallery.declare(FITS)
        for some in ([3, 200, 449], [200, 0]):
            names = [ids[number] for number in some], [labels[number] for number in some]
            gallery.replace(NEW, *names, random.standard_normal((len(some), DIMS)))
    return path


def test_it_ranks_as_the_gallery_does(search, mixed):
    queries = np.random.default_rng(1).standard_normal((20, DIMS)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with FileGallery(str(mixed)) as gallery:
        expected = gallery.search(NEW.fingerprint, queries, 450)
    device = search.Gallery(str(mixed))
    device.check()
    for query, matches in zip(queries, expected, strict=True):
        for top in (1, 5, 450):
            found = device.search(NEW.fingerprint, query, top)
            assert [(label, ident) for _, label, ident in found] == [
                (each.label, each.id) for each in matches[:top]
            ]
            np.testing.assert_allclose(
                [each[0] for each in found], [each.score for each in matches[:top]], atol=1e-5
            )


def test_it_finds_moved_entries_and_refuses_two_spaces(search, mixed):
    wide = KnownEncoder("3" * 64, 24, "wide")
    moved = [
        KnownEncoder(f"{letter}" * 64, 24, "moved", base.fingerprint, "d" * 64)
        for letter, base in (("a", OLD), ("b", NEW))
    ]
    turn = np.random.default_rng(5).standard_normal((DIMS, 24))
    query = np.random.default_rng(1).standard_normal(24).astype(np.float32)
    query /= np.linalg.norm(query)
    with FileGallery(str(mixed)) as gallery:
        for each in moved:
            gallery.declare(
                Compatibility(wide.fingerprint, each.fingerprint, "", "", "embedding", ODDS)
            )
        for base in (OLD, NEW):
            gallery.declare(
                Compatibility(wide.fingerprint, base.fingerprint, "", "", calibration=ODDS)
            )
        for base, each in zip((OLD, NEW), moved, strict=True):
            assert sum(gallery.move(base, each, lambda rows: rows @ turn)) > 0
            if base == OLD:
                with pytest.raises(ValueError, match=r"entries of \[16, 24\] dimensions"):
                    search.Gallery(str(mixed))
        expected = gallery.search(wide.fingerprint, query[None], 450)[0]
    device = search.Gallery(str(mixed))
    device.check()
    found = device.search(wide.fingerprint, query, 450)
    assert sorted((label, ident) for _, label, ident in found) == sorted(
        (each.label, each.id) for each in expected
    )
    scores = {ident: score for score, _, ident in found}
    assert scores == {each.id: pytest.approx(each.score, abs=1e-5) for each in expected}
    with pytest.raises(ValueError, match="the model gives 16 dimensions, and the entries have 24"):
        device.search(wide.fingerprint, query[:DIMS], 5)


@pytest.fixture
def pending(mixed, monkeypatch) -> Path:
    """Makes a gallery as a kill between a removal and the tidying leaves it.

    One removed entry had been embedded anew.
    """
    with monkeypatch.context() as stopped:
        stopped.setattr(FileGallery, "_tidy", lambda *_: None)
        with FileGallery(str(mixed)) as gallery:
            gallery.remove(["photo 200 ü.jpg", "photo 7 ü.jpg"], ["Zoë 5"])
    return mixed


def test_it_finds_no_removed_entry_whose_bytes_are_still_there(search, pending):
    query = np.random.default_rng(1).standard_normal(DIMS).astype(np.float32)
    query /= np.linalg.norm(query)
    with FileGallery(str(pending)) as gallery:
        expected = gallery.search(NEW.fingerprint, query[None], 450)[0]
    device = search.Gallery(str(pending))
    device.check()
    found = device.search(NEW.fingerprint, query, 450)
    assert len(found) == device.entries == 445
    assert [(label, ident) for _, label, ident in found] == [
        (each.label, each.id) for each in expected
    ]


@pytest.mark.parametrize("tidied", [True, False])
def test_a_gallery_that_forgot_everybody_has_no_entries(search, tmp_path, monkeypatch, tidied):
    path = tmp_path / "people.gallery"
    if not tidied:
        monkeypatch.setattr(FileGallery, "_tidy", lambda *_: None)
    with FileGallery(str(path)) as gallery:
        gallery.add(OLD, ["a"], ["b"], np.ones((1, DIMS)))
        gallery.remove(["a"])
    with pytest.raises(ValueError, match="has no entries"):
        search.Gallery(str(path))


def test_it_refuses_an_encoder_not_known_to_fit_every_entry(search, mixed):
    device, query = search.Gallery(str(mixed)), np.eye(1, DIMS, dtype=np.float32)[0]
    for fingerprint in (OLD.fingerprint, "2" * 64):
        with pytest.raises(ValueError, match="not known to be compatible"):
            device.search(fingerprint, query, 3)


def test_a_flipped_byte_is_found_wherever_it_lies(search, pending):
    whole = pending.read_bytes()
    positions = np.random.default_rng(0).integers(0, len(whole), 300).tolist()
    removals = whole.index(b"REMO")
    # Those of the last replacement, of which the highest bits make negative numbers, and of the
    # removal.
    for position in [*positions, *range(whole.rindex(b"REPL") + 64, removals + 104)]:
        flipped = bytearray(whole)
        flipped[position] ^= 0x80 if position % 2 else 1 << (position % 8)
        pending.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"damaged|no gallery"):
            search.Gallery(str(pending)).check()


@pytest.mark.parametrize("length", [0, 50, 100, 300])
def test_a_file_that_was_cut_off_is_told(search, mixed, length):
    mixed.write_bytes(mixed.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"damaged|empty|smaller"):
        search.Gallery(str(mixed)).check()


def opened_by_device(search, path: Path) -> str:
    """Returns what the device's reader says of a file: good, damaged or refused."""
    try:
        search.Gallery(str(path)).check()
    except importlib.import_module("gallery_blocks").DamagedError:
        return "damaged"
    except ValueError:
        return "refused"
    return "good"


# Good files that the device does not search: two have no entries, and two have entries of two
# numbers of dimensions.
REFUSED = ("all_removed", "empty", "half_moved", "two_spaces")
GOLDEN = json.loads((GALLERIES / "answers.json").read_text())
ANSWERS = GOLDEN["answers"]


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_it_refuses_each_damaged_gallery_that_bct_keras_refuses(search, name):
    expected = {"no gallery": "refused", "other version": "refused"}
    word = ANSWERS[name]["opened"]
    if name.removesuffix(".gallery") in REFUSED:
        word = "refused"
    assert opened_by_device(search, GALLERIES / name) == expected.get(word, word)


def test_a_name_that_is_no_text_is_told_when_it_is_found(search):
    name = "damaged_name_of_no_text.gallery"
    answers = zip(GOLDEN["queries"], ANSWERS[name]["found"], strict=True)
    asked = next(query for query, found in answers if found["status"] == "damaged")
    gallery = search.Gallery(str(GALLERIES / name))
    query = np.array(asked["embedding"], np.float32)
    with pytest.raises(ValueError, match=r"damaged at byte .* an id or a label is no text"):
        gallery.search(asked["encoder"], query, gallery.entries)


def test_of_mutated_galleries_it_opens_none_that_bct_keras_refuses(search, tmp_path):
    good = []
    for name, answer in ANSWERS.items():
        if answer["opened"] == "good":
            good.append((GALLERIES / name).read_bytes())
    path = tmp_path / "mutated.gallery"
    opened = 0
    for content in mutated(good, 200, seed=0):
        path.write_bytes(content)
        by_device = opened_by_device(search, path)
        by_us = by_python(path, [], 1)["opened"]
        if by_us == "good":
            assert by_device != "damaged"
            opened += 1
        else:
            assert by_device != "good"
    assert 20 < opened < 120


def test_the_example_is_short_and_imports_no_more_than_it_says():
    imported = set()
    ours = {path.stem for path in EDGE.glob("gallery_*.py")} | {"encoder", "photo"}
    for script in ("search.py", *(f"{name}.py" for name in sorted(ours))):
        lines = (EDGE / script).read_text().splitlines()
        assert len(lines) < 170
        tree = ast.parse("\n".join(lines))
        imported |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        imported |= {
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        }
    others = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert others == ours | {"ai_edge_litert", "numkong", "numpy", "PIL"}


@pytest.fixture(scope="module")
def shipped(tiny_encoder_path, tmp_path_factory) -> Path:
    """Makes a model for the device, a gallery of what it embeds, and a photo."""
    folder = tmp_path_factory.mktemp("shipped")
    export(
        Source(keras_encoder(tiny_encoder_path(DIMS))), ["tflite"], folder / "exported", Checks()
    )
    model = load_encoder(folder / "exported/encoder.tflite")
    colours = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), np.uint8)
    pixels = np.broadcast_to(colours, (40, 28, 28, 3))
    with FileGallery(str(folder / "people.gallery")) as gallery:
        known = KnownEncoder(model.fingerprint, DIMS, "encoder.tflite")
        gallery.add(
            known,
            [f"colour {n}" for n in range(40)],
            [str(n) for n in range(40)],
            model.embed(pixels),
        )
    photo = np.broadcast_to(colours[7], (50, 30, 3))
    (folder / "photo.png").write_bytes(tf.io.encode_png(photo).numpy())
    return folder


def run_alone(script: str, folder: Path, **changed: Path | str) -> subprocess.CompletedProcess:
    given: dict[str, Path | str] = {
        "model": folder / "exported/encoder.tflite",
        "gallery": folder / "people.gallery",
        "image": folder / "photo.png",
    }
    given |= changed
    arguments = [f"--{name}={path}" for name, path in given.items()]
    return subprocess.run(
        [sys.executable, "-c", ALONE, str(EDGE / script), *arguments],
        capture_output=True,
        text=True,
    )


def test_a_photo_finds_its_entry_without_tensorflow(shipped):
    done = run_alone("search.py", shipped)
    assert done.returncode == 0, done.stderr
    heading, first, *others = done.stdout.splitlines()
    assert "among 40 entries" in heading
    assert first.split() == ["1.0000", "7", "colour", "7"]
    assert len(others) == 4


def test_it_searches_the_entries_of_one_name_alone(shipped):
    done = run_alone("search.py", shipped, only_label="9")
    heading, *found = done.stdout.splitlines()
    assert "among 1 entries" in heading
    assert [line.split()[1:] for line in found] == [["9", "colour", "9"]]
    done = run_alone("search.py", shipped, only_label="nobody")
    assert done.returncode == 1
    assert "has no entry with the label 'nobody'" in done.stderr


@pytest.fixture(scope="module")
def of_two_outputs(tiny_encoder_path, tmp_path_factory) -> Path:
    """Makes a model of two embeddings, a photo, and galleries of the same 40 entries.

    One is by the older encoder, one by the model itself, and one has entries of both.
    """
    folder = tmp_path_factory.mktemp("two")
    encoder = keras_encoder(tiny_encoder_path(DIMS))
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (40, 1, 1, 3), np.uint8)
    pixels = np.broadcast_to(colours, (40, 28, 28, 3))
    # The old embeddings are the new ones turned.
    new_embeddings = encoder.embed(pixels)
    turn, _ = np.linalg.qr(random.normal(size=(DIMS, DIMS)))
    adapter = bct.adapters.fit("procrustes", new_embeddings, new_embeddings @ turn)
    with_adapter(encoder.model, adapter).save(folder / "encoder.keras")
    source = Source(keras_encoder(folder / "encoder.keras"))
    export(source, ["tflite"], folder / "exported", Checks())
    model = load_encoder(folder / "exported/encoder.tflite")
    itself = KnownEncoder(model.fingerprint, DIMS, "encoder.tflite")
    ids = [f"colour {n}" for n in range(40)]
    labels = [str(n) for n in range(40)]
    for kind in ("old", "own", "both"):
        with FileGallery(str(folder / f"{kind}.gallery")) as gallery:
            if kind == "own":
                gallery.add(itself, ids, labels, new_embeddings)
                continue
            gallery.add(OLD, ids, labels, new_embeddings @ turn)
            gallery.declare(Compatibility(model.fingerprint, OLD.fingerprint, "", "compatible"))
            if kind == "both":
                gallery.replace(itself, ids[:3], labels[:3], new_embeddings[:3])
    photo = np.broadcast_to(colours[7], (50, 30, 3))
    (folder / "photo.png").write_bytes(tf.io.encode_png(photo).numpy())
    return folder


@pytest.mark.parametrize("kind", ["old", "own"])
def test_a_model_of_two_embeddings_searches_by_that_of_the_gallery(of_two_outputs, kind):
    done = run_alone("search.py", of_two_outputs, gallery=of_two_outputs / f"{kind}.gallery")
    assert done.returncode == 0, done.stderr
    _, first, *_ = done.stdout.splitlines()
    assert first.split() == ["1.0000", "7", "colour", "7"]


def test_entries_of_both_embeddings_are_not_searched_at_once(of_two_outputs):
    done = run_alone("search.py", of_two_outputs, gallery=of_two_outputs / "both.gallery")
    assert done.returncode == 1
    assert "holds entries of this model and of an older one" in done.stderr


def test_what_is_wrong_is_told_in_one_line(shipped, tmp_path):
    for changed in (
        {"image": shipped / "people.gallery"},
        {"gallery": shipped / "photo.png"},
        {"image": tmp_path / "x"},
    ):
        done = run_alone("search.py", shipped, **changed)
        assert done.returncode == 1
        said = [
            line for line in done.stderr.splitlines() if not line.startswith("INFO: ")
        ]  # LiteRT's own
        assert len(said) == 1
        assert said[0].startswith("error: ")


def test_the_latency_script_tells_each_figure(shipped):
    done = run_alone("latency.py", shipped)
    assert done.returncode == 0, done.stderr
    figures = {
        figure["name"]: figure["value"] for figure in map(json.loads, done.stdout.splitlines())
    }
    assert len(figures) == 1 + 2 * 3 + 1
    assert all(value > 0 for value in figures.values())
    for name in ("embed the photo, 1 thread", "embed the photo, 2 threads"):
        assert figures[f"{name}, p50"] <= figures[f"{name}, p99"]
