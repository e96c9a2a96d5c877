"""Every reader of a gallery file, whatever it is written in, answers the same questions alike."""

import contextlib
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_readers.answers import Asked, by_python, difference
from gallery_readers.by_c import CHECKED, by_c, compiled
from gallery_readers.mutations import mutated
from PIL import Image

from bct_keras.gallery import blocks

pytestmark = pytest.mark.seconds(36)

TESTS = Path(__file__).parents[1]
FOLDER = TESTS / "golden" / "galleries"
EDGE = TESTS.parent / "export" / "edge"
WEB = EDGE / "web"
GOLDEN = json.loads((FOLDER / "answers.json").read_text())
ASKED = [Asked.from_facts(facts) for facts in GOLDEN["queries"]]
ANSWERS: dict[str, dict[str, Any]] = GOLDEN["answers"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    return compiled(tmp_path_factory.mktemp("reader"), CHECKED)


def test_there_is_a_file_for_every_refusal_and_every_kind_of_block():
    assert sorted(ANSWERS) == sorted(path.name for path in FOLDER.glob("*.gallery"))
    words = {answer["opened"] for answer in ANSWERS.values()}
    statuses = {found["status"] for answer in ANSWERS.values() for found in answer["found"]}
    assert words == {"good", "damaged", "no gallery", "other version"}
    refusals = {"not admitted", "other dimensions", "not calibrated", "bad query", "damaged"}
    assert statuses == {"good"} | refusals


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_python_answers_as_it_did(name):
    assert difference(ANSWERS[name], by_python(FOLDER / name, ASKED, GOLDEN["top"])) == ""


def test_the_reader_in_c_answers_as_python_does(reader):
    files = [(FOLDER / name).read_bytes() for name in ANSWERS]
    answers = by_c(reader, files, ASKED, GOLDEN["top"])
    found = {
        name: difference(ANSWERS[name], answer)
        for name, answer in zip(ANSWERS, answers, strict=True)
    }
    assert {name: text for name, text in found.items() if text} == {}


def test_the_reader_in_javascript_answers_as_python_does():
    if not shutil.which("node"):
        pytest.skip("there is no Node (node)")
    program = TESTS / "gallery_readers" / "reader.mjs"
    command = ["node", str(program), str(FOLDER), str(GOLDEN["top"])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers.keys() == ANSWERS.keys()
    found = {name: difference(ANSWERS[name], answer) for name, answer in answers.items()}
    assert {name: text for name, text in found.items() if text} == {}


def test_the_page_stretches_pixels_as_pillow_does(tmp_path):
    if not shutil.which("node"):
        pytest.skip("there is no Node (node)")
    random = np.random.default_rng(0)
    sizes = [(299, 603), (603, 299), (200, 300), (40, 50), (64, 64), (64, 30), (100, 700)]
    expected = []
    for width, height in sizes:
        pixels = random.integers(0, 256, (height, width, 4), np.uint8)
        (tmp_path / f"{width}x{height}").write_bytes(pixels.tobytes())
        image = Image.fromarray(pixels[:, :, :3])
        expected.append(np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)))
    program = TESTS / "gallery_readers" / "stretch.mjs"
    command = ["node", str(program), str(tmp_path), "64"]
    command += [f"{width}x{height}" for width, height in sizes]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found = np.frombuffer(done.stdout, np.uint8).reshape(-1, 64, 64, 3)
    np.testing.assert_array_equal(found, expected)


def test_the_reader_in_javascript_can_be_read_at_a_sitting():
    assert len((WEB / "gallery.js").read_text().splitlines()) <= 250


def answered_otherwise(reader: Path, folder: Path, count: int, seed: int) -> str:
    """Returns how the reader in C first answers otherwise than Python does; "" where it never does.

    The file that it is about is kept.
    """
    good = [
        (FOLDER / name).read_bytes()
        for name, answer in ANSWERS.items()
        if answer["opened"] == "good"
    ]
    files = list(mutated(good, count, seed))
    path = folder / "mutated.gallery"
    asked = [ASKED[1], ASKED[2], ASKED[4], ASKED[8]]
    good_ones = 0
    for file, answer in zip(files, by_c(reader, files, asked, 200), strict=True):
        path.write_bytes(file)
        expected = by_python(path, asked, 200)
        good_ones += expected["opened"] == "good"
        if different := difference(expected, answer):
            kept = path.rename(folder / "different.gallery")
            return f"{kept}: {different}"
    assert count * 0.1 < good_ones < count * 0.6
    return ""


@pytest.fixture
def hurried(monkeypatch):
    """Waits for no writer where a commit is damaged."""
    monkeypatch.setattr(blocks.time, "sleep", lambda _: None)


@pytest.mark.usefixtures("hurried")
def test_the_reader_in_c_agrees_about_mutated_files(reader, tmp_path):
    assert answered_otherwise(reader, tmp_path, 200, seed=0) == ""


@pytest.mark.long
@pytest.mark.usefixtures("hurried")
def test_the_reader_in_c_agrees_about_many_mutated_files(reader, tmp_path):
    assert answered_otherwise(reader, tmp_path, 8_000, seed=1) == ""


def test_the_script_for_devices_finds_what_python_does_where_it_takes_a_gallery():
    """It takes one number of dimensions, and no gallery whose originals are searched."""
    sys.path.insert(0, str(EDGE))
    try:
        search = importlib.import_module("search")
    finally:
        sys.path.remove(str(EDGE))
    compared = 0
    for name, answer in ANSWERS.items():
        if answer["opened"] != "good":
            continue
        try:
            gallery = search.Gallery(str(FOLDER / name))
        except ValueError:
            continue
        for asked, found in zip(ASKED, answer["found"], strict=True):
            if found["status"] != "good" or asked.compatible is not None:
                continue
            query = asked.embedding / np.linalg.norm(asked.embedding)
            with contextlib.suppress(ValueError):
                device = gallery.search(asked.encoder, query, GOLDEN["top"], asked.labels)
                names = [[ident, label] for _, label, ident in device]
                assert names == [match[:2] for match in found["matches"]]
                compared += 1
    assert compared >= 8
