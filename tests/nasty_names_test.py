"""Folders, files and ids whose names hold escape codes, line breaks and Markdown, from photos to
card and terminal.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bct_keras import artefacts
from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import RUN_KIND, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import report
from bct_keras.evaluate.run import evaluate
from bct_keras.export import model_card
from bct_keras.export.formats.format import Source
from bct_keras.gallery.facts import Match
from bct_keras.gallery.photos import Found, as_text
from bct_keras.pages import plots
from bct_keras.prepare import run as prepare_run

BREAK = "\x1b[2J\n# owned | `x` <b>[a](http://b.c)"
BIDI = "\u202egpj"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Three identities of four images each, and what is no image."""
    root = tmp_path_factory.mktemp("photos") / f"in{BIDI}"
    random = np.random.default_rng(0)
    for identity in range(3):
        folder = root / f"p{identity}{BREAK.replace('/', ':')}"
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (28, 28, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}\x1b]0;x\x07.jpg", "JPEG")
    (root / "p0\x1b[31m.txt").write_text("x")
    return root


@pytest.fixture(scope="module")
def data(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / f"set{BIDI}"
    prepare_run.prepare(f"folder({str(photos)!r}, image_size=28)", "none", out)
    return out


def check_plain(text: str) -> None:
    assert "\x1b" not in text
    for each in text.split("\n"):
        assert each.replace("\t", " ").isprintable(), each


def test_what_prepare_says_is_plain(photos, tmp_path):
    said = prepare_run.prepare(f"folder({str(photos)!r}, image_size=28)", "none", tmp_path / "out")
    assert "passed over, as no image that can be read: 1" in said
    check_plain(said)
    bad = next(photos.iterdir()) / "9\x1b[2J\n.jpg"
    bad.write_bytes(b"\xff\xd8 no image")
    try:
        source = f"folder({str(photos)!r}, image_size=28)"
        said = prepare_run.prepare(source, "none", tmp_path / "skipped", on_bad="skip")
        assert "1 images left out" in said
        check_plain(said)
        with pytest.raises(InputError) as error:
            prepare_run.prepare(source, "none", tmp_path / "failed")
        check_plain(str(error.value))
        assert len(str(error.value).split("\n")) == 2
    finally:
        bad.unlink()


def test_what_evaluate_says_is_plain(data, tiny_encoder_path, tmp_path):
    old = load_encoder(tiny_encoder_path(4))
    found = evaluate(old, None, [f"retrieval({str(data)!r})"], tmp_path / "report")
    said = report.as_text(found)
    check_plain(said)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<b>[a]" not in page


def test_what_a_search_says_is_plain():
    matches = [Match(f"p{BREAK}", f"l{BREAK}", 0.5, "e" * 64)]
    said = as_text(Found("me\x1b[2J.jpg", matches))
    check_plain(said)
    assert len(said.split("\n")) == 3


def test_a_card_shows_names_and_obeys_none(tiny_encoder_path, tmp_path):
    run = tmp_path / f"run{BIDI}"
    run.mkdir()
    path = run / "encoder.keras"
    path.write_bytes(tiny_encoder_path(4).read_bytes())
    recipe = {"method": f"l2 {BREAK}", f"key{BREAK}": "x", "head": "a ` b `` c"}
    artefacts.write_manifest(run, RUN_KIND, recipe, encoder=artefacts.file_sha256(path))
    (run / "flags.txt").write_text("--source=folder(a`b | <b>\x1b[2J)\n--seed=1\n")
    encoder = load_encoder(path)
    loss = {f"top-1 of {BREAK}": 0.1}
    files = {
        f"tflite{BREAK}": {
            "file": f"e|{BREAK}",
            "bytes": 3,
            "difference": 0.1,
            "cosine": 0.9,
            "losses": loss,
            "faults": [BREAK],
            "doubts": [BREAK],
        }
    }
    results = {f"retrieval({BREAK})": {f"old{BREAK}/old": {f"top{BREAK}": 0.5}}}
    source = Source(encoder)  # pyright: ignore
    refused = {"tflite": BREAK}
    card = model_card.Card(
        source=source,
        old=encoder,
        verdict=f"undecided: {BREAK}",
        files=files,
        refused=refused,
        results=results,
        data_licence=f"mine {BREAK}",
    ).text()
    check_plain(card)
    assert "\n# owned" not in card
    without_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", card)
    assert not re.search(r"(?<!\\)<b>", without_code)
    assert not re.search(r"(?<!\\)\[a", without_code)
    # Every row of a table has as many cells as its heading, whatever names hold.
    for table in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


def test_a_plot_shows_a_name_that_looks_like_a_formula():
    def draw(axes) -> None:
        axes.plot([0, 1], [0, 1], label=r"$\frac{a$ </text><script>")
        axes.legend()

    svg = plots.as_svg(draw, "x")
    assert r"$\frac{a$ &lt;/text&gt;&lt;script&gt;" in svg


def test_embeddings_and_a_data_set_of_such_names(data, tiny_encoder_path, tmp_path):
    said = embed(load_encoder(tiny_encoder_path(4)), open_data_set(data), tmp_path / f"by{BIDI}")
    assert "12 embeddings of 4 dimensions" in said
