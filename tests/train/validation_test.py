"""What is measured after every epoch, and the encoder that is kept by it."""

import json
from pathlib import Path

import numpy as np
import pytest

from bct_keras import artefacts
from bct_keras.data.dataset import open_data_set
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import compatibility
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.train import __main__ as train
from bct_keras.train.validation import Best, Validation, read_best

METRIC = "new/old mAP"


@pytest.fixture
def old(tiny_encoder_path) -> Path:
    return tiny_encoder_path(4)


@pytest.fixture
def trained(here, data_root, old, tmp_path):
    """Trains for three epochs in a folder of this name: exit status, output and errors."""

    def run(name: str, *more: str) -> tuple[int, str, str]:
        network = (
            "--backbone=tiny_backbones:one_convolution",
            "--dims=4",
            "--head=softmax",
            "--learning_rate=0.05",
        )
        short = (
            "--batch_size=12",
            "--epochs=3",
            "--strategy=one",
            "--protocol=none",
            "--formats=none",
        )
        places = (f"--data={data_root / 'new'}", f"--old={old}", f"--workdir={tmp_path / name}")
        return here(train, "--method=l2", *network, *short, *places, *more)

    return run


@pytest.fixture
def validated(trained, data_root):
    flags = (f"--validation=retrieval({data_root / 'test'})", f"--keep_best={METRIC}")
    return lambda name, *more: trained(name, *flags, *more)


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_best_encoder_is_the_one_that_measured_so(
    validated, data_root, old, tmp_path, monkeypatch
):
    embedded = []
    embed = Retrieval.embed
    monkeypatch.setattr(
        Retrieval,
        "embed",
        lambda self, encoder: embedded.append(encoder.path) or embed(self, encoder),
    )
    status, _, errors = validated("run")
    assert status == 0, errors
    values = [line[f"val {METRIC}"] for line in lines_of(tmp_path / "run")]
    manifest = artefacts.read_manifest(tmp_path / "run", "run")
    assert manifest["best_epoch"] == int(np.argmax(values)) + 1
    assert manifest[METRIC] == max(values)
    assert embedded.count(old) == 1  # it does not change
    protocol = Retrieval(str(data_root / "test"))
    found = compatibility.self_and_cross_tests(
        protocol, load_encoder(old), load_encoder(tmp_path / "run")
    )
    assert found["new/old"]["mAP"] == pytest.approx(max(values), abs=1e-6)


def test_the_head_belongs_to_the_best_encoder(trained, validated, tmp_path, monkeypatch):
    falling = iter((0.3, 0.2, 0.1))
    monkeypatch.setattr(Validation, "measure", lambda *_: {METRIC: next(falling)})
    assert validated("first")[0] == 0
    assert artefacts.read_manifest(tmp_path / "first", "run")["best_epoch"] == 1
    assert (tmp_path / "first/encoder.keras").read_bytes() == (
        tmp_path / "first/best.keras"
    ).read_bytes()
    assert trained("last")[0] == 0
    first, best, last = (
        np.load(tmp_path / name) for name in ("first/head.npz", "first/best.npz", "last/head.npz")
    )
    np.testing.assert_array_equal(first["class_weights"], best["class_weights"])
    assert not np.array_equal(first["class_weights"], last["class_weights"])


def test_the_projector_shows_the_best_encoder(validated, data_root, tmp_path, monkeypatch):
    falling = iter((0.3, 0.2, 0.1))
    monkeypatch.setattr(Validation, "measure", lambda *_: {METRIC: next(falling)})
    assert validated("run")[0] == 0
    (batch,) = open_data_set(data_root / "new").batches(256)
    shown = np.loadtxt(tmp_path / "run/log/embeddings.tsv")
    np.testing.assert_allclose(
        shown, load_encoder(tmp_path / "run").embed(batch["image"].numpy()), rtol=1e-3, atol=1e-4
    )


def test_a_metric_that_is_not_measured_is_told_before_the_first_epoch(validated, tmp_path):
    status, said, errors = validated("run", "--keep_best=new/old top-2")
    assert status == 1
    assert "--keep_best=new/old top-2 is not measured; known: old/old top-1, " in errors
    assert "epoch 1/3" not in said


def test_another_metric_is_another_run(validated, tmp_path):
    assert validated("run")[0] == 0
    status, _, errors = validated("run", "--keep_best=new/old top-1")
    assert status == 1
    assert f"made from something else (keep_best: '{METRIC}' there, 'new/old top-1' now)" in errors


GOOD_FACTS = '{"epoch": 1, "metric": "new/old mAP", "value": 0.5}'


def test_the_facts_of_the_best_epoch_are_read(tmp_path):
    path = tmp_path / "best.json"
    path.write_text(GOOD_FACTS)
    assert read_best(path) == Best(epoch=1, metric=METRIC, value=0.5)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\0" * 40,
        b"\xff\xfe",
        GOOD_FACTS[:-10].encode(),
        b"null",
        b"[]",
        b"{}",
        GOOD_FACTS.replace("1", "-1").encode(),
        GOOD_FACTS.replace("1", '"1"').encode(),
        GOOD_FACTS.replace("0.5", "NaN").encode(),
        GOOD_FACTS.replace("0.5", "1e999").encode(),
        GOOD_FACTS.replace("0.5", "null").encode(),
        b"[" * 100_000,
    ],
)
def test_damaged_facts_are_told_with_what_to_do(tmp_path, damaged):
    path = tmp_path / "best.json"
    path.write_bytes(damaged)
    with pytest.raises(InputError) as told:
        read_best(path)
    what, advice = told.value.args
    assert what.startswith(str(path))
    assert what.endswith(": what it said of the best epoch so far is lost.")
    assert advice.startswith(f"Remove {tmp_path} and train again; or remove best.json alone, ")


def test_a_run_that_goes_on_beside_damaged_facts_ends_with_a_plain_line(
    validated, tmp_path, monkeypatch
):
    found = iter((0.3,))

    def measure(_):
        """Stands for a run that is broken off after its first epoch."""
        for value in found:
            return {METRIC: value}
        raise InputError("broken off")

    monkeypatch.setattr(Validation, "measure", measure)
    assert validated("run")[0] == 1
    facts = tmp_path / "run/best.json"
    facts.write_bytes(facts.read_bytes()[:-12])
    status, _, errors = validated("run")
    assert status == 1
    assert "Traceback" not in errors
    assert errors.startswith(f"error: {facts} cannot be read as JSON: ")
    assert f"Remove {tmp_path / 'run'} and train again; or remove best.json alone" in errors
    # Without the file the run goes on.
    facts.unlink()
    monkeypatch.setattr(Validation, "measure", lambda _: {METRIC: 0.2})
    status, _, errors = validated("run")
    assert status == 0, errors
    assert artefacts.read_manifest(tmp_path / "run", "run")["best_epoch"] == 2
