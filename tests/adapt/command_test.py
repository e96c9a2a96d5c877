"""The command as its user types it, on images, and on stored embeddings of items without images."""

import re
from pathlib import Path

import numpy as np
import pytest

from bct_keras import artefacts
from bct_keras.adapt import __main__ as command
from bct_keras.adapt import judges
from bct_keras.adapt.weight import WEIGHTS
from bct_keras.encoders import (
    ADAPTER_KIND,
    AdaptedEncoder,
    TwoOutputs,
    load_adapter,
    load_encoder,
)
from bct_keras.evaluate import __main__ as evaluate_command
from bct_keras.evaluate.report_folder import KIND, REPORT

# People as points of 6 coordinates; the new encoder sees them turned and less noisy than the old.
PEOPLE, EACH, DIMS = 60, 8, 6


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """Two files of stored embeddings, each in an order of its own."""
    folder = tmp_path_factory.mktemp("stored")
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), EACH)
    person = random.normal(size=(PEOPLE, DIMS))[labels]
    turn, _ = np.linalg.qr(random.normal(size=(DIMS, DIMS)))
    old = person + 0.9 * random.normal(size=person.shape)
    new = (person + 0.3 * random.normal(size=person.shape)) @ turn
    ids = np.array([f"text {row}" for row in range(len(labels))])
    order = random.permutation(len(ids))
    np.savez(folder / "old.npz", embeddings=old[order], ids=ids[order])
    np.savez(folder / "new.npz", embeddings=new, ids=ids, labels=labels)
    np.savez(folder / "unlabelled.npz", embeddings=new, ids=ids)
    return folder


def of_stored(stored: Path, out: Path, *others: str, new: str = "new.npz") -> list[str]:
    return [f"--new={stored / new}", f"--old={stored / 'old.npz'}", f"--out={out}", *others]


def test_stored_embeddings_are_adapted_and_proven(stored, tmp_path, here):
    out = tmp_path / "adapted"
    status, said, errors = here(command, *of_stored(stored, out, "--kind=linear"))
    assert (status, errors) == (0, "")
    assert "verdict: compatible" in said
    report = artefacts.read_result(out / "report", KIND, REPORT)
    (found,) = report["protocols"].values()
    # Chance has 1 of 18 people held out; without the map the new queries are turned away.
    assert found["new/old"]["top-1"] > found["old/old"]["top-1"] + 0.1
    adapter = load_adapter(out)
    manifest = artefacts.read_manifest(out, ADAPTER_KIND)
    new = load_encoder(stored / "new.npz")
    assert manifest["made_from"]["source"] == new.fingerprint
    # What the report measured is what the adapter gives for the identities held out.
    assert AdaptedEncoder(new, adapter).of_ids(["text 0"]).shape == (1, DIMS)


def test_a_second_run_does_nothing(stored, tmp_path, here):
    out = tmp_path / "adapted"
    arguments = of_stored(stored, out, "--kind=procrustes")
    here(command, *arguments)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    status, said, _ = here(command, *arguments)
    assert status == 0
    assert f"{out} is up to date" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_gallery_moves_to_the_new_encoder(stored, tmp_path, here):
    out = tmp_path / "moved"
    status, said, _ = here(command, *of_stored(stored, out, "--direction=gallery", "--kind=linear"))
    assert status == 0
    assert "verdict on new/moved: compatible" in said
    assert "new/old" not in said, "nobody searches a gallery that is moved as it was"
    manifest = artefacts.read_manifest(out, ADAPTER_KIND)
    assert manifest["made_from"]["source"] == load_encoder(stored / "old.npz").fingerprint


def test_a_fused_query_takes_the_plain_mean_of_stored_embeddings(stored, tmp_path, here):
    out = tmp_path / "fused"
    status, said, _ = here(command, *of_stored(stored, out, "--kind=procrustes", "--fuse"))
    assert status == 0
    assert "fused: the new embedding counts 0.5" in said
    assert artefacts.read_manifest(out, ADAPTER_KIND)["weight"] == 0.5


def listed(stored: Path, people: int) -> str:
    """A protocol of the items of the first people."""
    with np.load(stored / "new.npz") as new:
        some = new["labels"] < people
        np.savez(stored / f"{people}.npz", ids=new["ids"][some], labels=new["labels"][some])
    return f"--protocol=listed({stored / f'{people}.npz'})"


def test_what_is_measured_by_a_list_is_not_fitted_on(stored, tmp_path, here):
    out = tmp_path / "adapted"
    arguments = of_stored(stored, out, "--kind=linear", listed(stored, 20))
    status, said, _ = here(command, *arguments)
    assert status == 0
    assert "verdict: " in said
    # 60 people less 20, of 8 items each.
    assert artefacts.read_manifest(out, ADAPTER_KIND)["pairs"] == (PEOPLE - 20) * EACH


def test_a_list_of_everybody_leaves_none_to_fit_on(stored, tmp_path, here):
    out = tmp_path / "adapted"
    status, _, errors = here(command, *of_stored(stored, out, listed(stored, PEOPLE)))
    assert status == 1
    assert "every identity is measured, and none is left to fit on" in errors
    assert not out.exists()


def test_without_labels_neighbours_are_told(stored, tmp_path, here):
    out = tmp_path / "adapted"
    status, said, _ = here(
        command, *of_stored(stored, out, "--kind=procrustes", new="unlabelled.npz")
    )
    assert status == 0
    assert "of the 10 nearest items that the new encoder finds" in said
    assert "advise compares it with the other routes" in said
    assert "verdict" not in said


def test_ids_that_one_file_alone_has_are_told(stored, tmp_path, here):
    with np.load(stored / "new.npz") as new:
        few = {name: new[name][:-7] for name in new.files}
    np.savez(stored / "few.npz", **few)
    arguments = of_stored(stored, tmp_path / "adapted", "--kind=procrustes", new="few.npz")
    _, said, _ = here(command, *arguments)
    assert f"old.npz: 7 of {PEOPLE * EACH} ids are not in the other file" in said


def test_evaluate_takes_an_adapter_of_stored_embeddings_beside_its_encoder(stored, tmp_path, here):
    out = tmp_path / "adapted"
    here(command, *of_stored(stored, out, "--kind=procrustes"))
    status, said, _ = here(
        evaluate_command,
        f"--new={stored / 'new.npz'}",
        f"--old={stored / 'old.npz'}",
        f"--adapted={out}",
        listed(stored, PEOPLE),
        f"--out={tmp_path / 'report'}",
    )
    assert status == 0
    assert "adapted/old" in said


@pytest.fixture(scope="module")
def encoders(tiny_encoder_path) -> tuple[Path, Path]:
    return tiny_encoder_path(5), tiny_encoder_path(4)


@pytest.fixture
def of_images(encoders, data_root, tmp_path) -> list[str]:
    new, old = encoders
    return [
        f"--new={new}",
        f"--old={old}",
        f"--data={data_root / 'new'}",
        f"--out={tmp_path / 'adapted'}",
        "--kind=linear",
    ]


def test_the_map_is_folded_into_one_encoder_of_two_outputs(of_images, encoders, tmp_path, here):
    status, said, _ = here(command, *of_images)
    assert status == 0
    assert "encoder.keras with both outputs" in said
    out = tmp_path / "adapted"
    encoder = load_encoder(out)
    assert isinstance(encoder, TwoOutputs)
    assert (encoder.dims, encoder.compatible_dims) == (5, 4)
    new = load_encoder(encoders[0])
    size = encoder.image_size
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    np.testing.assert_allclose(encoder.embed(images), new.embed(images), atol=1e-5)
    expected = AdaptedEncoder(new, load_adapter(out)).embed(images)
    np.testing.assert_allclose(encoder.compatible.embed(images), expected, atol=1e-5)
    report = artefacts.read_result(out / "report", KIND, REPORT)
    assert report["made_from"]["new"] == encoder.fingerprint


def test_a_fused_encoder_is_one_file_with_both_networks(of_images, encoders, tmp_path, here):
    status, said, _ = here(command, *of_images, "--fuse")
    assert status == 0
    out = tmp_path / "adapted"
    weight = artefacts.read_manifest(out, ADAPTER_KIND)["weight"]
    # The view `old` of this small data set has 2 identities, which choose nothing.
    assert weight == 0.5
    assert "fused: the new embedding counts 0.5: there are no identities" in said
    encoder, new, old = load_encoder(out), *(load_encoder(path) for path in encoders)
    size = encoder.image_size
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    adapted = AdaptedEncoder(new, load_adapter(out)).embed(images)
    of_old = old.embed(images)
    mean = weight * adapted + (1 - weight) * of_old / np.linalg.norm(of_old, axis=1)[:, None]
    expected = mean / np.linalg.norm(mean, axis=1)[:, None]
    np.testing.assert_allclose(encoder.compatible.embed(images), expected, atol=1e-5)


def test_identities_that_are_named_choose_the_weight(
    of_images, data_root, tmp_path, here, monkeypatch
):
    monkeypatch.setattr(judges, "FEWEST_IDENTITIES", 2)
    named = [data_root / "old", data_root / "test"]
    status, said, _ = here(
        command, *of_images, "--fuse", *(f"--weigh_on={folder}" for folder in named)
    )
    assert status == 0
    assert f"chosen by {named[0]} and {named[1]}" in said
    manifest = artefacts.read_manifest(tmp_path / "adapted", ADAPTER_KIND)
    means = np.mean(list(manifest["weight_gains"].values()), axis=0)
    assert manifest["weight"] == WEIGHTS[int(np.argmax(means))]


def npz(path: Path, ids: list[str], embeddings: np.ndarray) -> Path:
    np.savez(path, ids=np.array(ids), embeddings=embeddings)
    return path


REFUSED = {
    "no id in common": (["b1", "b2", "b3", "b4"], np.eye(4), "have no id in common"),
    "one pair": (["a1"], np.eye(4)[:1], r"1 identity\(ies\) are too few"),
    "constant embeddings": (
        ["a1", "a2", "a3", "a4"],
        np.ones((4, 4)),
        "source embeddings have the same direction",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_pairs_that_allow_no_fit_are_told_in_a_line(case, tmp_path, here):
    ids, embeddings, said = REFUSED[case]
    new = npz(tmp_path / "new.npz", ids, embeddings)
    old = npz(tmp_path / "old.npz", ["a1", "a2", "a3", "a4"], np.eye(4))
    out = tmp_path / "adapted"
    status, _, errors = here(command, f"--new={new}", f"--old={old}", f"--out={out}")
    assert status == 1
    assert errors.startswith("error: ")
    assert len(errors.strip().splitlines()) <= 2
    assert not out.exists()
    assert re.search(said, errors)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["--kind=none"], "--kind=none fits nothing: it goes with --fuse"),
        (["--direction=gallery", "--fuse"], "--fuse is for queries"),
        (["--weigh_on=elsewhere"], "--weigh_on goes with --fuse"),
        (["--kind=none", "--fuse"], "5 compatible dimensions and"),
        (["--protocol=retrieval({data})"], "it would prove nothing"),
    ],
)
def test_options_that_do_not_go_together_are_told(others, said, of_images, data_root, here):
    arguments = [other.format(data=data_root / "new") for other in others]
    kept = [each for each in of_images if not (each == "--kind=linear" and "--kind" in others[0])]
    status, _, errors = here(command, *kept, *arguments)
    assert status == 1
    assert said in errors
    assert len(errors.strip().splitlines()) <= 2


def test_files_of_embeddings_need_no_data_but_encoders_do(encoders, tmp_path, here):
    new, old = encoders
    status, _, errors = here(
        command, f"--new={new}", f"--old={old}", f"--out={tmp_path / 'adapted'}"
    )
    assert status == 1
    assert "without a data set both encoders have to be .npz files" in errors
