"""Tests the comparison of an old and a new encoder by arrays alone."""

import doctest
import json

import numpy as np
import pytest

from bct_keras.data import dataset
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import comparison
from bct_keras.evaluate.comparison import compare
from bct_keras.evaluate.run import evaluate
from bct_keras.prepare.run import prepare

IDENTITIES, IMAGES, DIMS = 30, 5, 8


def embeddings(labels: np.ndarray, noise: float, seed: int) -> np.ndarray:
    people = np.random.default_rng(99).normal(size=(IDENTITIES, DIMS))
    spread = noise * np.random.default_rng(seed).normal(size=(len(labels), DIMS))
    return (people[labels] + spread).astype(np.float32)


LABELS = np.repeat(np.arange(IDENTITIES), IMAGES)
OLD, NEW = embeddings(LABELS, 0.8, seed=1), embeddings(LABELS, 0.3, seed=2)


def test_the_example_runs():
    found = doctest.testmod(comparison)
    assert (found.attempted, found.failed) == (6, 0)


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> dict:
    """Returns the report on the same arrays as stored embeddings of a data set.

    It is made by the command's function; the rows are in the order of the ids.
    """
    folder = tmp_path_factory.mktemp("data")
    prepare(
        f"synthetic(identities={IDENTITIES}, images={IMAGES}, image_size=28)",
        "none",
        folder / "data",
    )
    data = dataset.open_data_set(folder / "data")
    ids, labels = [], []
    for batch in data.batches(64):
        ids += dataset.ids_of(batch)
        labels += batch["label"].numpy().tolist()
    order = np.argsort(ids)
    ids, labels = np.array(ids)[order], np.array(labels)[order]
    arrays = {"old": embeddings(labels, 0.8, seed=1), "new": embeddings(labels, 0.3, seed=2)}
    for name, rows in arrays.items():
        np.savez(folder / f"{name}.npz", embeddings=rows, ids=ids)
    old, new = (load_encoder(folder / f"{name}.npz") for name in arrays)
    spec = f"retrieval({folder / 'data'})"
    found = evaluate(old, new, [spec], folder / "report")
    compared = compare(old=arrays["old"], new=arrays["new"], labels=labels)
    return {"command": found, "protocol": found["protocols"][spec], "compared": compared}


def test_numbers_and_verdict_are_those_of_the_command(reported):
    compared = reported["compared"]
    assert compared.verdict.word == reported["command"]["verdict"] == "compatible"
    assert compared.verdict.because == reported["command"]["because"]
    ours, theirs = compared.report["protocols"][comparison.PROTOCOL], reported["protocol"]
    assert list(ours) == list(theirs)
    for part in set(theirs) - {"flips"}:
        assert ours[part] == theirs[part], part
    for kind in ("negative", "positive"):
        assert ours["flips"][kind] == theirs["flips"][kind]


def test_the_table_has_a_row_for_each_metric(reported):
    compared, protocol = reported["compared"], reported["protocol"]
    rows = compared.table()
    assert [row["metric"] for row in rows] == list(protocol["old/old"])
    for row in rows:
        metric = row["metric"]
        assert list(row) == ["metric", "old/old", "new/old", "new/new", "gain", "interval", "word"]
        assert row["new/old"] == protocol["new/old"][metric]
        assert row["gain"] == pytest.approx(row["new/old"] - row["old/old"])
        low, high = row["interval"]
        assert low <= row["gain"] <= high
        assert row["word"] == protocol["word"][metric]


def test_it_is_saved_as_evaluate_does(tmp_path):
    found = compare(old=OLD, new=NEW, labels=LABELS)
    found.save(tmp_path / "report")
    found.save(str(tmp_path / "report"))  # once more in its place
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == json.loads(
        json.dumps(found.report)
    )
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Compatible: " in page
    example, *_ = found.report["protocols"][comparison.PROTOCOL]["flips"]["examples"]
    assert f"{example['query']} taken for {example['found']}" in page
    assert (tmp_path / "report" / "1_roc.png").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="holds something else"):
        found.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "photo.jpg").is_file()


def test_one_that_moves_away_is_not_compatible():
    found = compare(old=OLD, new=np.roll(NEW, 1, axis=1), labels=LABELS)
    assert found.verdict.word == "not compatible"
    assert str(found.verdict).startswith("not compatible: TAR@FAR")


def test_few_identities_are_undecided():
    few = LABELS < 3
    found = compare(old=OLD[few], new=OLD[few] * 1.5, labels=LABELS[few])
    assert found.verdict.word == "undecided"


def test_the_verdict_goes_by_the_metrics_that_are_asked_for():
    found = compare(old=OLD, new=NEW, labels=LABELS, decide_by=["mAP"])
    assert found.verdict.because.startswith("mAP (+")
    with pytest.raises(InputError, match=r"^decide_by=rank-1 is not measured; known: TAR@FAR=1e-2"):
        compare(old=OLD, new=NEW, labels=LABELS, decide_by=["rank-1"])


def test_labels_may_be_texts_and_a_share_of_the_images_the_gallery():
    names = np.array([f"person {label:02}" for label in LABELS])
    one = compare(old=OLD, new=NEW, labels=names, gallery_share=0.2)
    assert one.table() == compare(old=OLD, new=NEW, labels=LABELS, gallery_share=0.2).table()
    assert len(one.protocol.division.gallery) == IDENTITIES  # 0.2 * 5
    assert len(compare(old=OLD, new=NEW, labels=LABELS).protocol.division.gallery) == 3 * IDENTITIES


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"new": NEW[:, :4]},
            "`new` has 4 dimensions and `old` 8: queries of the one cannot be searched",
        ),
        ({"new": NEW[:10]}, r"`old` has 150 rows, `new` 10 and `labels` \(150,\)"),
        ({"old": OLD[0]}, r"`old` has to be numbers \[images, dims\], and its shape is \(8,\)"),
        ({"new": np.where(NEW > 1, np.nan, NEW)}, "`new` has a value that is no finite number"),
        ({"labels": np.zeros(150)}, "one identity alone"),
        ({"labels": np.arange(150)}, "leaves no query or no gallery"),
        ({"gallery_share": 1.0}, "has to be above 0 and below 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        compare(**({"old": OLD, "new": NEW, "labels": LABELS} | given))
