"""Tests the routes beside new/old: by stored embeddings, with adapters that are known exactly."""

import json
from pathlib import Path

import numpy as np
import pytest

from bct_keras.adapters import fit
from bct_keras.encoders import AdaptedEncoder, FusedEncoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import compatibility, page, report, report_folder
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.routes import Routes
from bct_keras.evaluate.run import evaluate
from bct_keras.metrics.calibration import Calibration
from bct_keras.metrics.verdict import Rule

IDENTITIES, IMAGES, DIMS = 60, 8, 12
LABELS = np.repeat(np.arange(IDENTITIES), IMAGES)
IDS = [f"item{row:04d}" for row in range(len(LABELS))]
METRICS = ["TAR@FAR=1e-2", "TAR@FAR=1e-3", "top-1", "top-5", "mAP", "Recall@10"]


def rotation() -> np.ndarray:
    turned, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(DIMS, DIMS)))
    return turned


def stored(folder: Path, name: str, embeddings: np.ndarray, labels: bool = True) -> Path:
    path = folder / f"{name}.npz"
    arrays = {"embeddings": embeddings.astype(np.float32), "ids": np.array(IDS)}
    if labels:
        arrays["labels"] = LABELS
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Returns stored embeddings of an old and a new encoder, the new one in another space."""
    folder = tmp_path_factory.mktemp("stored")
    random = np.random.default_rng(0)
    people = random.normal(size=(IDENTITIES, DIMS))[LABELS]
    old = people + 0.9 * random.normal(size=people.shape)
    new = (people + 0.5 * random.normal(size=people.shape)) @ rotation()
    stored(folder, "old", old)
    stored(folder, "new", new)
    stored(folder, "unlabelled", new, labels=False)
    fit("procrustes", new, old, LABELS).save(folder / "query.keras")
    fit("procrustes", old, new, LABELS).save(folder / "gallery.keras")
    return folder


@pytest.fixture(scope="module")
def encoders(folder) -> dict:
    found = {name: load_encoder(folder / f"{name}.npz") for name in ("old", "new")}
    found["adapted"] = load_encoder(f"adapted({folder / 'new.npz'}, {folder / 'query.keras'})")
    found["moved"] = load_encoder(f"adapted({folder / 'old.npz'}, {folder / 'gallery.keras'})")
    found["fused"] = FusedEncoder(found["adapted"], found["old"], weight=0.6)
    return found


@pytest.fixture(scope="module")
def routes(encoders) -> Routes:
    return Routes(encoders["adapted"], encoders["fused"], encoders["moved"])


@pytest.fixture(scope="module")
def found(folder, encoders, routes, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("reports") / "report"
    spec = f"listed({folder / 'new.npz'})"
    found = evaluate(encoders["old"], encoders["new"], [spec], out, routes=routes)
    assert json.loads((out / "report.json").read_text()) == found
    return found


@pytest.fixture
def without_plots(monkeypatch) -> None:
    """Draws nothing, which is most of the time that a report takes."""
    monkeypatch.setattr(report_folder, "draw", lambda result, folder, number: [])


def result_of(found: dict) -> dict:
    (result,) = found["protocols"].values()
    return result


def test_each_route_is_measured_as_it_would_be_alone(found, folder, encoders):
    result = result_of(found)
    spec = f"listed({folder / 'new.npz'})"
    protocols = build_protocols([spec])
    for name, test in (("adapted", "adapted/old"), ("fused", "fused/old")):
        alone_result = compatibility.findings(protocols[spec], encoders["old"], encoders[name])
        verdict = compatibility.judge({spec: alone_result}, Rule())
        assert verdict
        assert result[test] == alone_result["new/old"]
        for part in ("gain", "interval", "word", "above_old"):
            assert result["routes"][name][part] == alone_result[part]
        assert found["routes"][name]["verdict"] == verdict.word
        assert found["routes"][name]["because"] == verdict.because
        assert result["calibration"][test] == alone_result["calibration"]["new/old"]
        assert result["thresholds"][test] == alone_result["thresholds"]["new/old"]


def test_a_moved_gallery_is_the_old_one_turned(found):
    # Procrustes turns both ways alike: |n R - o| = |n - o R'|.
    result = result_of(found)
    for metric in METRICS:
        assert result["new/moved"][metric] == pytest.approx(result["adapted/old"][metric], abs=2e-3)
    assert found["routes"]["moved"]["verdict"] == "compatible"
    assert found["verdict"] == "not compatible"  # as it is, it is in another space


def test_fingerprints_say_what_is_searched_with_in_the_gallery_of_what(found, encoders):
    names = {
        "adapted": ("adapted", "old"),
        "fused": ("fused", "old"),
        "moved": ("new", "moved"),
    }
    for route, (query, gallery) in names.items():
        assert found["routes"][route]["query"] == encoders[query].fingerprint
        assert found["routes"][route]["gallery"] == encoders[gallery].fingerprint


def test_mixed_galleries_have_each_route_and_each_order(found):
    mixed = result_of(found)["mixed"]
    kinds = {(curve["route"], curve["merged_by"], curve["order"]) for curve in mixed["curves"]}
    orders = ("random", "farthest from class mean first")
    merges = {
        "new": ("cosine", "odds", "rate"),
        "adapted": ("odds", "rate"),
        "fused": ("odds", "rate"),
        "moved": ("cosine", "odds", "rate"),
    }
    expected = set()
    for route, names in merges.items():
        for name in names:
            expected |= {(route, name, order) for order in orders}
    assert kinds == expected
    assert len(mixed["share"]) == 11
    result = result_of(found)
    tests = {
        "new": "new/old",
        "adapted": "adapted/old",
        "fused": "fused/old",
        "moved": "new/moved",
    }
    for curve in mixed["curves"]:
        top_1 = curve["metrics"]["top-1"]
        assert top_1[0] == pytest.approx(result[tests[curve["route"]]]["top-1"])
        assert top_1[-1] == pytest.approx(result["new/new"]["top-1"])
        if curve["route"] != "new":
            assert all(high >= 0 for _, high in curve["lead"])


def test_carried_over_thresholds_stand_beside_the_calibrated_ones(found):
    result = result_of(found)
    assert set(result["carried_over"]) == {
        "new/old",
        "new/new",
        "adapted/old",
        "fused/old",
        "new/moved",
    }
    today = result["thresholds"]["old/old"]
    for test, rates in result["carried_over"].items():
        calibration = Calibration.from_facts(result["calibration"][test])
        for metric, found_rates in rates.items():
            rate = float(calibration.rate(np.array(today[metric])))
            if found_rates["far"] > 1e-3:
                assert found_rates["far"] == pytest.approx(rate, rel=0.2)
        lower_threshold = today["TAR@FAR=1e-2"] < result["thresholds"][test]["TAR@FAR=1e-2"]
        assert lower_threshold == (rates["TAR@FAR=1e-2"]["far"] > 1e-2)


def test_page_and_text_have_the_routes_first(found):
    text = report.as_text(found)
    html = page.as_html(found)
    assert text.startswith("Routes to the old gallery\n")
    for test in ("new/old", "adapted/old", "fused/old", "new/moved"):
        assert f"verdict on {test}: " in text
        assert f"<p>verdict on {test}: " in html
    assert html.index("Routes to the old gallery") < html.index("Compatible means")
    assert "<h1" in html
    assert (
        "not compatible: do not search the old gallery by new queries as they are (new/old)</h1>"
        in html
    )
    assert "The thresholds of today" in html
    assert "better part alone</th>" in html
    assert "<dt>fused/old</dt>" in html


@pytest.mark.usefixtures("without_plots")
def test_reports_without_routes_have_no_part_of_them(folder, encoders, tmp_path):
    spec = f"listed({folder / 'new.npz'})"
    found = evaluate(encoders["old"], encoders["new"], [spec], tmp_path / "report")
    assert "routes" not in found
    assert not {"routes", "mixed"} & set(result_of(found))
    assert set(found["made_from"]) == {
        "--old",
        "--new",
        "--on_bad",
        "--decide_by",
        "--margin",
        "old",
        "new",
        spec,
    }


@pytest.mark.usefixtures("without_plots")
def test_a_report_of_another_adapter_is_another_report(folder, encoders, routes, tmp_path):
    spec = f"listed({folder / 'new.npz'})"
    out = tmp_path / "report"

    def made(routes: Routes) -> float:
        evaluate(encoders["old"], encoders["new"], [spec], out, routes=routes)
        return (out / "report.json").stat().st_mtime_ns

    first = made(Routes(adapted=routes.adapted))
    assert made(Routes(adapted=routes.adapted)) == first
    other = fit("linear", encoders["new"].embeddings, encoders["old"].embeddings, LABELS)
    with pytest.raises(InputError, match=r"made from something else \(adapted: "):
        made(Routes(adapted=AdaptedEncoder(encoders["new"], other)))
    with pytest.raises(InputError, match=r"made from something else \(fused: "):
        made(Routes(adapted=routes.adapted, fused=routes.fused))


@pytest.mark.usefixtures("without_plots")
def test_an_adapter_brings_encoders_of_other_dimensions_together(folder, encoders, tmp_path):
    wide = np.concatenate([encoders["new"].embeddings, encoders["new"].embeddings], 1)
    new = load_encoder(stored(folder, "wide", wide))
    adapter = fit("linear", wide, encoders["old"].embeddings, LABELS)
    spec = f"listed({folder / 'new.npz'})"
    found = evaluate(
        encoders["old"],
        new,
        [spec],
        tmp_path / "report",
        routes=Routes(adapted=AdaptedEncoder(new, adapter)),
    )
    result = result_of(found)
    assert found["verdict"] is None
    assert found["routes"]["adapted"]["verdict"] == "compatible"
    assert "new/old" not in result
    assert any("new/old is not measured" in note for note in result["notes"])
    assert [curve["route"] for curve in result["mixed"]["curves"]] == ["adapted"] * 4
    assert page.as_html(found)
    assert "verdict on adapted/old: compatible" in report.as_text(found)
    with pytest.raises(InputError, match="24 compatible dimensions"):
        evaluate(encoders["old"], new, [spec], tmp_path / "without")


def test_what_cannot_be_measured_is_told(folder, encoders, tmp_path):
    spec = [f"listed({folder / 'new.npz'})"]
    adapted = Routes(adapted=encoders["adapted"])
    with pytest.raises(InputError, match=r"adapted=.* needs old and new too"):
        evaluate(encoders["old"], None, spec, tmp_path / "a", routes=adapted)
    wide = np.concatenate([encoders["new"].embeddings, encoders["new"].embeddings], 1)
    new = load_encoder(stored(folder, "wider", wide))
    with pytest.raises(InputError, match=r"gives 12 dimensions and queries of .*wider.npz have 24"):
        evaluate(encoders["old"], new, spec, tmp_path / "b", routes=Routes(moved=encoders["moved"]))
    with pytest.raises(InputError, match=r"gives 24 dimensions and .*old.npz has 12"):
        evaluate(encoders["old"], encoders["new"], spec, tmp_path / "c", routes=Routes(fused=new))
