"""Tests the gate that files have to pass on their way out.

The encoders and a protocol have numbers that are known.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import KerasEncoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.evaluate.run import evaluate
from bct_keras.export import __main__ as exporting
from bct_keras.export import writing
from bct_keras.export.formats import FORMATS, tflite
from bct_keras.export.formats.format import Source
from bct_keras.export.run import Checks, export, keras_encoder
from bct_keras.metrics.influence import Influence
from bct_keras.metrics.measured import Measured

pytestmark = pytest.mark.seconds(9)

IMAGES = np.random.default_rng(7).integers(0, 256, (8, 28, 28, 3), np.uint8)


def coarse_encoder(folder: Path, coordinates: int) -> KerasEncoder:
    """Embeds the image as 4 x 4 colours, of which the first coordinates alone are not zero."""
    image = keras.Input((28, 28, 3))
    colours = keras.layers.Flatten()(
        keras.layers.AveragePooling2D(7)(keras.layers.Rescaling(1.0, -128.0)(image))
    )
    path = folder / f"first_{coordinates}.keras"
    kept: Any = [1.0] * coordinates + [0.0] * (48 - coordinates)
    keras.Model(image, keras.layers.Rescaling(kept)(colours)).save(path)
    return keras_encoder(path)


@pytest.fixture(scope="module")
def coarse(tmp_path_factory, data_root) -> Source:
    encoder = coarse_encoder(tmp_path_factory.mktemp("coarse"), 48)
    return Source(encoder, calibration=open_data_set(data_root / "new"))


@pytest.fixture
def checks(coarse, tmp_path, monkeypatch) -> Checks:
    """Makes an old encoder that `coarse` is compatible with, on a protocol of known numbers."""
    colours = normalised(coarse.encoder.embed(IMAGES))

    class Quality:
        """Measures how much of the 48 colours is left, in queries and in gallery.

        It is the product of their mean cosines.
        """

        def embed(self, encoder):
            left = float(np.mean(np.sum(normalised(encoder.embed(IMAGES)) * colours, axis=1)))
            return left, left

        def measure(self, query: float, gallery: float) -> dict[str, float]:
            return {"quality": query * gallery}

        def made_from(self) -> dict[str, str]:
            return {}

    monkeypatch.setitem(PROTOCOLS, "quality", Quality)
    return Checks(("quality",), coarse_encoder(tmp_path, 12), max_loss=0.01)


@pytest.fixture
def lossy(monkeypatch, tmp_path) -> Callable[[str], None]:
    """Makes a format write another encoder than it was given: the first three coordinates."""

    def spoil(name: str) -> None:
        form, worse = FORMATS[name], coarse_encoder(tmp_path, 3)

        def write(source: Source, path: Path) -> None:
            form.write(dataclasses.replace(source, encoder=worse), path)

        spoilt = dataclasses.replace(
            form, write=write, largest_difference=None, smallest_cosine=None
        )
        monkeypatch.setitem(FORMATS, name, spoilt)

    return spoil


def test_every_file_is_measured_against_every_other(coarse, checks, tmp_path):
    export(coarse, ["saved_model", "tflite"], tmp_path / "out", checks, data_licence="CC0")
    (tests,) = json.loads((tmp_path / "out" / "gate.json").read_text())["protocols"].values()
    ours = ["encoder", "saved_model", "tflite"]
    assert set(tests) == {f"{query}/{gallery}" for query in ours for gallery in ["old", *ours]} | {
        "old/old"
    }
    # A random image's first 12 of 48 colours are a quarter of its length squared: cosine 0.5.
    assert tests["old/old"]["quality"] == pytest.approx(0.5 * 0.5, abs=0.05)
    assert tests["tflite/old"]["quality"] == pytest.approx(
        1 * tests["old/old"]["quality"] ** 0.5, abs=1e-6
    )
    assert tests["tflite/saved_model"]["quality"] == pytest.approx(1, abs=1e-6)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert f"| saved_model | {tests['saved_model/old']['quality']:.4f} | " in card
    assert "- licence: CC0" in card
    assert "no proof of identity" in card


def test_the_numbers_are_those_of_evaluate(coarse, checks, data_root, tmp_path):
    protocol = f"retrieval({data_root / 'all'})"
    given = dataclasses.replace(checks, protocols=(protocol,), allow_loss=True)
    export(coarse, ["tflite"], tmp_path / "out", given)
    found = json.loads((tmp_path / "out" / "gate.json").read_text())["protocols"][protocol]
    file = load_encoder(tmp_path / "out" / "encoder.tflite")
    (expected,) = evaluate(given.old, file, [protocol], tmp_path / "report")["protocols"].values()
    assert found["tflite/old"] == pytest.approx(expected["new/old"])
    assert found["tflite/tflite"] == pytest.approx(expected["new/new"])
    assert found["old/old"] == pytest.approx(expected["old/old"])


@pytest.mark.parametrize("name", ["tflite", "saved_model"])
def test_a_file_that_loses_too_much_is_refused_with_the_numbers(
    coarse, checks, tmp_path, lossy, name
):
    lossy(name)
    # It has 3 of 48 colours: a cosine of about 0.2 instead of 1, and less than the old encoder's
    # 0.5.
    message = (
        rf"{name} is refused: quality of quality loses 7\d\.\d\d%; not compatible: quality \(-0\.1"
    )
    with pytest.raises(InputError, match=message):
        export(coarse, [name], tmp_path / "out", checks)
    assert not (tmp_path / "out").exists()


def test_int8_is_measured_as_the_file_gives_it(coarse, checks, tmp_path):
    export(coarse, ["tflite_int8"], tmp_path / "out", checks)
    (tests,) = json.loads((tmp_path / "out" / "gate.json").read_text())["protocols"].values()
    exact = normalised(coarse.encoder.embed(IMAGES))
    file = normalised(load_encoder(tmp_path / "out" / "encoder_int8.tflite").embed(IMAGES))
    left = float(np.mean(np.sum(file * exact, axis=1)))
    assert 0.99 < left < 1  # eight bits are not all of it
    in_old = tests["encoder/old"]["quality"]
    assert tests["tflite_int8/old"]["quality"] == pytest.approx(left * in_old, abs=1e-6)
    assert tests["tflite_int8/tflite_int8"]["quality"] == pytest.approx(left * left, abs=1e-6)


def test_int8_of_a_bad_calibration_is_refused(coarse, checks, tmp_path, monkeypatch):
    """It has seen no colour but one: all others are beyond its ranges."""
    grey = np.full((4, 28, 28, 3), 160, np.uint8)
    monkeypatch.setattr(tflite, "calibration_images", lambda source: grey)
    monkeypatch.setattr(writing, "KEPT_FLOAT", (0.0,))  # nothing is kept in float: one attempt
    # How near it is to its encoder is asked before what it loses; here the loss has to tell.
    form = dataclasses.replace(FORMATS["tflite_int8"], smallest_cosine=None)
    monkeypatch.setitem(FORMATS, "tflite_int8", form)
    with pytest.raises(
        InputError, match=r"tflite_int8 is refused: quality of quality loses [2-9]\d\.\d\d%"
    ):
        export(coarse, ["tflite_int8"], tmp_path / "out", checks)
    assert not (tmp_path / "out").exists()


def test_what_passes_is_written_and_what_does_not_is_named(coarse, checks, tmp_path, lossy):
    lossy("saved_model")
    lossy("tflite_fp16")
    found = export(coarse, ["saved_model", "tflite", "tflite_fp16"], tmp_path / "out", checks)
    assert (list(found.files), sorted(found.refused)) == (
        ["tflite"],
        ["saved_model", "tflite_fp16"],
    )
    expected = {"encoder.tflite", "manifest.json", "gate.json", "MODEL_CARD.md"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    reason = r"saved_model is refused: quality of quality loses 7\d\.\d\d%"
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert re.search(rf"Not written:\n\n- {reason}.*\n- tflite_fp16 is refused: ", card)
    gate = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert gate["refused"] == found.refused
    (tests,) = gate["protocols"].values()
    assert set(tests) == {
        f"{query}/{gallery}" for query in ("encoder", "tflite") for gallery in ("encoder", "tflite")
    } | {
        "old/old",
        "encoder/old",
        "tflite/old",
    }
    # The second time nothing is made, and the same is said.
    assert (
        export(coarse, ["saved_model", "tflite", "tflite_fp16"], tmp_path / "out", checks) == found
    )


def test_the_command_writes_what_passes_and_ends_with_status_1(
    coarse, checks, tmp_path, lossy, here
):
    lossy("saved_model")
    flags = [f"--encoder={coarse.encoder.path}", f"--old={checks.old.path}", "--protocol=quality"]
    status, said, errors = here(
        exporting, *flags, "--formats=saved_model,tflite", f"--out={tmp_path / 'out'}"
    )
    assert status == 1
    assert re.match(
        r".*/out/encoder\.tflite: .* loses at most 0\.00% \(quality of quality\)\n", said
    )
    assert "\nexported as undecided: quality" in said
    assert re.match(
        r"error: saved_model is refused: .* --allow_loss lets it out .*\ntflite written; leave ",
        errors,
    )
    assert (tmp_path / "out" / "encoder.tflite").is_file()
    assert said.splitlines()[-1] == (
        f"next: bct evaluate --new={tmp_path}/out/encoder.tflite --old={checks.old.path}"
        " --protocol=quality --out=reports/tflite"
    )


def test_a_loss_that_may_be_chance_is_let_out_and_told(
    coarse, checks, tmp_path, lossy, monkeypatch
):
    lossy("tflite")
    quality = PROTOCOLS["quality"]

    class Uncertain(quality):
        """With 100 people who move what a worse file reaches by 0.05."""

        def measure(self, query, gallery):
            found = super().measure(query, gallery)
            people = np.tile([-0.005, 0.005], 50) * (query < 0.9)
            part = Influence(people, np.zeros(100), 1e-6)
            return Measured(found, lambda: {"quality": part})

    monkeypatch.setitem(PROTOCOLS, "quality", Uncertain)
    # With 3 of 48 coordinates a cosine of 0.2 is left, so 0.2 * 0.2 in the gallery where the
    # encoder has 0.2: it loses 0.8 of that, and draws of 0.1 more and less are about half of it.
    given = dataclasses.replace(checks, old=coarse_encoder(tmp_path, 3), max_loss=0.5)
    found = export(coarse, ["tflite"], tmp_path / "out", given)
    interval = r"95 % interval 3\d\.\d\d% to 12\d\.\d\d%"
    told = rf"quality of quality loses 79\.\d\d% \({interval}\), not shown to be above 50\.00%"
    assert re.search(told, found.files["tflite"])
    assert re.search(
        rf"\| passed; {told}; undecided: quality", (tmp_path / "out" / "MODEL_CARD.md").read_text()
    )


def test_max_loss_says_how_much_may_be_lost(coarse, checks, tmp_path, lossy):
    lossy("tflite")
    alone = dataclasses.replace(
        checks, old=None, max_loss=0.999
    )  # self-tests: 0.2 * 0.2 instead of 1
    export(coarse, ["tflite"], tmp_path / "out", alone)
    with pytest.raises(InputError, match=r"loses 9\d\.\d\d%"):
        export(coarse, ["tflite"], tmp_path / "other", dataclasses.replace(alone, max_loss=0.5))


def test_allow_loss_lets_it_out_and_the_card_says_so(coarse, checks, tmp_path, lossy):
    lossy("tflite")
    said = export(
        coarse, ["tflite"], tmp_path / "out", dataclasses.replace(checks, allow_loss=True)
    )
    facts = json.loads((tmp_path / "out" / "gate.json").read_text())["files"]["tflite"]
    worst = max(facts["losses"].values())
    assert worst > 0.5
    assert f"loses at most {worst:.2%}" in str(said)
    assert "**let out in spite of: " in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_an_encoder_that_is_not_compatible_is_not_exported(coarse, checks, tmp_path):
    better = dataclasses.replace(checks, old=coarse_encoder(tmp_path, 24))
    worse = dataclasses.replace(coarse, encoder=coarse_encoder(tmp_path, 12))
    # Of 12 and 24 of 48 coordinates 0.5 and 0.7 are left: 0.5 * 0.7 in the gallery of 0.7 * 0.7
    told = (
        r"the encoder itself is not compatible: quality \(-0\.1\d+\) is shown to be worse than the"
        r" old encoder's own"
    )
    with pytest.raises(InputError, match=told):
        export(worse, ["saved_model"], tmp_path / "out", better)
    assert not (tmp_path / "out").exists()


def test_an_old_encoder_of_other_dimensions_is_told(coarse, checks, tiny_encoder_path, tmp_path):
    other = dataclasses.replace(checks, old=load_encoder(tiny_encoder_path(4)))
    with pytest.raises(InputError, match=r"has 48 compatible dimensions and .* 4"):
        export(coarse, ["saved_model"], tmp_path / "out", other)


def test_an_undecided_encoder_leaves_with_that_word_on_its_card_or_not_at_all(
    coarse, checks, tmp_path
):
    # The known numbers come without what they rest on, so that nothing is shown to be better.
    said = str(export(coarse, ["saved_model"], tmp_path / "out", checks))
    assert "exported as undecided: quality (+0.2" in said
    text = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    first = next(line for line in text.splitlines() if line.startswith("# "))
    assert first.startswith("# undecided: quality (+0.2")
    with pytest.raises(InputError, match="the encoder itself is undecided: quality"):
        export(
            coarse, ["saved_model"], tmp_path / "strict", dataclasses.replace(checks, strict=True)
        )
    assert not (tmp_path / "strict").exists()
