"""The card on top of an export: what the Hub reads of it, parsed as YAML."""

import doctest

import numpy as np
import pytest
import yaml

from bct_keras.encoders import load_encoder
from bct_keras.export import front_matter, model_card
from bct_keras.export.formats.format import Source

SPEC = "retrieval(data/demo/test)"
RESULTS = {SPEC: {"old/old": {"top-1": 0.5}, "encoder/old": {"TAR@FAR=1e-3": 0.25, "top-1": 0.75}}}


def card(path, results, verdict: str | None) -> str:
    return model_card.Card(
        source=Source(load_encoder(path)),  # pyright: ignore
        old=None,
        verdict=verdict,
        files={},
        refused={},
        results=results,
        data_licence="",
        date="2026-11-27",
    ).text()


def parts_of(text: str) -> tuple[dict, str]:
    empty, matter, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(matter), body


def test_the_example_runs():
    assert doctest.testmod(front_matter).failed == 0


def test_the_hub_reads_name_task_data_set_and_metrics(tiny_encoder_path):
    path = tiny_encoder_path(4)
    found, body = parts_of(card(path, RESULTS, "undecided: top-1 is not shown to be better"))
    assert found["library_name"] == "keras"
    assert str(found["date"]) == "2026-11-27"
    assert found["verdict"] == "undecided: top-1 is not shown to be better"
    (model,) = found["model-index"]
    assert model["name"] == Source(load_encoder(path)).facts()["encoder"]  # pyright: ignore
    (result,) = model["results"]
    assert result["task"]["type"] == "image-feature-extraction"
    assert result["dataset"] == {"type": "retrieval", "name": SPEC}
    assert {"type": "top-1", "name": "top-1 of encoder/old", "value": 0.75} in result["metrics"]
    assert len(result["metrics"]) == 3
    first = next(line for line in body.splitlines() if line)
    assert first.startswith("# undecided: top-1 is not shown to be better - ")
    assert "| date | 2026-11-27 |" in body


def test_without_results_there_is_no_index(tiny_encoder_path):
    found, _ = parts_of(card(tiny_encoder_path(4), {}, None))
    assert "model-index" not in found
    assert "verdict" not in found


@pytest.mark.parametrize(
    "text",
    ["plain", 'a "b" \\ c: #', "line\nbreak\x1b\x85\u2028", "\U0001f600 \u00e9", "- a", "yes"],
)
def test_any_text_is_read_back_as_it_was(text):
    lines = front_matter.yaml_lines({"a": [{"b": text, "c": {"d": [1, 0.5, True]}}]})
    assert yaml.safe_load("\n".join(lines)) == {"a": [{"b": text, "c": {"d": [1, 0.5, True]}}]}
    assert all(" " <= letter <= "~" for letter in front_matter.scalar(text))


def test_any_number_is_read_back_as_a_number():
    values = [0.5, 1e-05, 2.5e-07, 1e20, -3.0, 7, float("inf"), np.float64(0.125)]
    lines = front_matter.yaml_lines({"values": values, "none": []})
    assert yaml.safe_load("\n".join(lines)) == {"values": values, "none": []}
    assert np.isnan(yaml.safe_load(front_matter.scalar(float("nan"))))
