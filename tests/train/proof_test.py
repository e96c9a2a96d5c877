"""What nothing could prove after the training is refused before it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bct_keras import specs
from bct_keras.data import dataset
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import held_out
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.protocols import PROTOCOLS, build_protocols
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.export.formats.format import Reference, Source
from bct_keras.export.run import keras_encoder
from bct_keras.prepare.run import prepare
from bct_keras.train import __main__ as train
from bct_keras.train import old_encoders, proof
from bct_keras.vectors import normalised


@pytest.fixture(scope="module")
def data(data_root) -> DataSet:
    return open_data_set(data_root / "new")


def ids(data: DataSet) -> list[str]:
    return [name for batch in data.batches(64) for name in dataset.ids_of(batch)]


def stored(path: Path, *of: DataSet) -> Path:
    names = [name for data in of for name in ids(data)]
    np.savez(path, embeddings=np.random.default_rng(0).normal(size=(len(names), 4)), ids=names)
    return path


def test_by_default_the_identities_that_were_held_out(data, data_root):
    assert held_out.protocols(None, data) == [f"retrieval({data_root / 'test'})"]
    assert held_out.protocols(["none"], data) == []
    assert held_out.protocols(["pairs(lfw.bin)"], data) == ["pairs(lfw.bin)"]


def test_stored_embeddings_have_to_hold_the_test_images_too(data, data_root, tmp_path):
    protocols, test = (
        build_protocols(held_out.protocols(None, data)),
        open_data_set(data_root / "test"),
    )
    too_few, whole = stored(tmp_path / "few.npz", data), stored(tmp_path / "whole.npz", data, test)
    with pytest.raises(
        InputError, match=r"few.npz has no embedding for .* which the proof by retrieval.* needs"
    ):
        proof.check(protocols, data, too_few, old_encoders.known(too_few))
    proof.check({}, data, too_few, old_encoders.known(too_few))
    proof.check(protocols, data, whole, old_encoders.known(whole))


def test_images_that_are_trained_on_prove_nothing(data, data_root, tiny_encoder_path):
    old = tiny_encoder_path(4)
    for view in ("new", "all"):
        with pytest.raises(
            InputError,
            match=rf"has images of {data.folder}, which is trained on: it would prove nothing",
        ):
            proof.check(
                build_protocols([f"retrieval({data_root / view})"]), data, old, load_encoder(old)
            )
    proof.check(build_protocols([f"retrieval({data_root / 'old'})"]), data, old, load_encoder(old))


@pytest.mark.parametrize("flag", ["--dry_run", "--nodry_run", "--validation"])
def test_train_tells_it_before_it_trains(here, data, data_root, tmp_path, flag):
    test = f"retrieval({data_root / 'test'})"
    flags = ["--protocol=none", f"--validation={test}"] if flag == "--validation" else [flag]
    few = stored(tmp_path / "few.npz", data)
    network = ("--backbone=iresnet_small(width=4)", "--dims=4", "--batch_size=4", "--strategy=one")
    status, said, error = here(
        train,
        f"--data={data.folder}",
        f"--old={few}",
        f"--workdir={tmp_path / 'run'}",
        *network,
        *flags,
    )
    assert status == 1
    assert "few.npz has no embedding for" in (said if flag == "--dry_run" else error)
    assert not (tmp_path / "run").exists()


def test_embeddings_of_the_training_images_are_proven_by_their_encoder(
    data, tiny_encoder_path, tmp_path
):
    old = Path(shutil.copy(tiny_encoder_path(4), tmp_path / "old.keras"))
    embed(load_encoder(old), data, tmp_path / "by-old")
    known = old_encoders.known(tmp_path / "by-old")
    assert known
    assert known.fingerprint == load_encoder(old).fingerprint
    proof.check(build_protocols(held_out.protocols(None, data)), data, tmp_path / "by-old", known)
    shutil.copy(tiny_encoder_path(8), old)
    assert old_encoders.known(tmp_path / "by-old") is None
    old.unlink()
    assert old_encoders.known(tmp_path / "by-old") is None
    with pytest.raises(InputError, match=r"by-old has embeddings of the images to train on alone"):
        proof.check(
            build_protocols(held_out.protocols(None, data)), data, tmp_path / "by-old", None
        )


def test_identities_of_one_image_each_cannot_be_searched(tmp_path):
    prepare(
        "synthetic(identities=12, images=1, image_size=28)",
        "class(old_share=0.3, test_share=0.34)",
        tmp_path / "ones",
    )
    data = open_data_set(tmp_path / "ones" / "new")
    with pytest.raises(
        InputError, match=r"ones.test: every identity has one image; a query needs a second one"
    ):
        proof.check(build_protocols(held_out.protocols(None, data)), data, None, None)


@pytest.fixture(scope="module")
def apart(tmp_path_factory) -> Path:
    """20 identities of 4 images: 4 for the proof, 4 to choose an epoch by."""
    folder = tmp_path_factory.mktemp("apart") / "faces"
    source = "synthetic(identities=20, images=4, image_size=28)"
    prepare(source, "class(test_share=0.2, validation_share=0.2)", folder)
    prepare(source, "data(old_share=0.5, test_share=0.2)", folder.with_name("again"), seed=5)
    return folder


def chosen_by(view: Path, keep_best: str = "new/old mAP", proven_by: str = "test") -> list[str]:
    data = open_data_set(view.parents[1] / "faces" / "new")
    proof_by = [f"retrieval({data.folder.parent / proven_by})"] if proven_by else []
    return proof.check_validation(
        build_protocols([f"retrieval({view})"]), keep_best, build_protocols(proof_by), data
    )


def test_an_epoch_may_be_chosen_by_identities_that_prove_nothing_else(apart):
    assert chosen_by(apart / "validation") == []
    assert chosen_by(apart / "old") == []


def test_an_epoch_is_not_chosen_by_the_images_of_the_proof(apart):
    # The same view, and another data set of the same images, in other shards and under another
    # name.
    for view, what in (
        (apart / "test", "the images"),
        (apart.with_name("again") / "test", "images"),
    ):
        with pytest.raises(InputError) as error:
            chosen_by(view)
        first, second = str(error.value).splitlines()
        assert first.startswith(
            f"keep_best would choose the epoch by retrieval({view}), which has {what} of the proof"
        )
        assert (
            "split='class(test_share=0.2, validation_share=0.1)', and give"
            " validation='retrieval(DATA/" in second
        )
        (warning,) = chosen_by(view, keep_best="")
        assert warning.startswith(
            f"validation=retrieval({view}) has {what} that retrieval({apart / 'test'}) is to prove"
        )
        # Without a proof of its own, a run may be proven by the test's images later.
        assert chosen_by(view, proven_by="") == [warning]


def test_other_images_of_the_same_identities_are_noticed(apart):
    again = apart.with_name("again")
    views = {
        name: specs.build(PROTOCOLS, f"retrieval({again / name})")
        for name in ("old", "new", "test")
    }
    assert proof.in_common(views["old"], views["new"]) == "identities"
    assert proof.in_common(views["old"], views["test"]) is None


@pytest.mark.parametrize("flag", ["--dry_run", "--nodry_run"])
def test_train_tells_it_before_it_trains_too(here, apart, tiny_encoder_path, tmp_path, flag):
    network = (
        "--backbone=iresnet_small(width=4)",
        "--dims=4",
        "--batch_size=4",
        "--strategy=one",
        flag,
    )
    places = (
        f"--data={apart / 'new'}",
        f"--old={tiny_encoder_path(4)}",
        f"--workdir={tmp_path / 'run'}",
    )
    watch = (f"--validation=retrieval({apart / 'test'})", "--keep_best=new/old mAP")
    status, said, error = here(train, *network, *places, *watch)
    assert status == 1
    assert "--keep_best would choose the epoch by" in (said if flag == "--dry_run" else error)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_each_encoder_embeds_the_test_images_once(
    here, data_root, tiny_encoder_path, tmp_path, monkeypatch
):
    """By validation, gate and report together; of the new one also once after each epoch, before it
    is what it is.
    """
    embedded: list[str] = []
    embed_images = Retrieval.embed_images

    def counting(self: Retrieval, encoder: Encoder):
        embedded.append(str(encoder.path))
        return embed_images(self, encoder)

    monkeypatch.setattr(Retrieval, "embed_images", counting)
    old, run = tiny_encoder_path(4), tmp_path / "run"
    network = (
        "--backbone=iresnet_small(width=4)",
        "--dims=4",
        "--batch_size=12",
        "--epochs=2",
        "--strategy=one",
    )
    places = (f"--data={data_root / 'new'}", f"--old={old}", f"--workdir={run}")
    flags = ("--formats=tflite", "--allow_loss", f"--validation=retrieval({data_root / 'test'})")
    status, said, error = here(train, *network, *places, *flags)
    assert status == 0, error
    assert f"report: {run / 'report' / 'report.html'}" in said
    exported = run / ".exported.partial" / "encoder.tflite"
    in_training = 2 * ["the encoder being trained"]
    assert sorted(embedded) == sorted(
        [*in_training, str(old), str(run / "encoder.keras"), str(exported)]
    )
    assert (
        len(list((run / "embeddings").iterdir())) == 2
    )  # what may be asked for again: of old and new


def test_a_run_of_two_outputs_exports_both(here, data_root, tiny_encoder_path, tmp_path):
    run = tmp_path / "run"
    protocol = f"retrieval({data_root / 'test'})"
    network = ("--backbone=iresnet_small(width=4)", "--dims=6", "--compatible_dims=4")
    places = (f"--data={data_root / 'new'}", f"--old={tiny_encoder_path(4)}", f"--workdir={run}")
    steps = ("--method=two_outputs", "--batch_size=12", "--epochs=1", "--strategy=one")
    flags = ("--formats=tflite", "--allow_loss", f"--protocol={protocol}")
    status, _, error = here(train, *network, *places, *steps, *flags)
    assert status == 0, error
    encoder = load_encoder(run)
    file = load_encoder(run / "exported" / "encoder.tflite")
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), np.uint8)
    for part, whole in ((file, encoder), (file.compatible, encoder.compatible)):
        np.testing.assert_allclose(part.embed(images), normalised(whole.embed(images)), atol=1e-4)
    assert (file.dims, file.compatible_dims) == (6, 4)
    report = json.loads((run / "report" / "report.json").read_text())["protocols"][protocol]
    gate = json.loads((run / "exported" / "gate.json").read_text())["protocols"][protocol]
    assert gate["encoder/old"] == pytest.approx(report["new/old"])
    assert gate["encoder/encoder"] == pytest.approx(report["new/new"])


def test_what_is_derived_of_kept_embeddings_is_what_it_would_be_anew(
    data_root, tiny_encoder_path, tmp_path
):
    spec, encoder = f"retrieval({data_root / 'test'})", keras_encoder(tiny_encoder_path(4))
    cached, anew = (
        build_protocols([spec], EmbeddingCache(tmp_path))[spec],
        build_protocols([spec])[spec],
    )
    cached.embed(encoder)
    for source in (Source(encoder), Source(encoder, flip=True)):
        found, expected = cached.embed(Reference(source)), anew.embed(Reference(source))
        np.testing.assert_array_equal(found.query.embeddings, expected.query.embeddings)
        np.testing.assert_array_equal(found.gallery.embeddings, expected.gallery.embeddings)
    assert len(list(tmp_path.iterdir())) == 1


def test_that_nothing_will_prove_the_encoder_is_told_before_it_is_trained(
    here, data_root, tiny_encoder_path, tmp_path
):
    prepare("synthetic(identities=4, images=6, image_size=32)", "none", tmp_path / "alone")
    arguments = (
        f"--data={tmp_path}/alone",
        f"--workdir={tmp_path}/run",
        f"--start={tiny_encoder_path(4)}",  # of 28 pixels, which stops it before the training
        "--method=independent",
        "--dims=4",
        "--batch_size=8",
    )
    status, said, errors = here(train, *arguments)
    assert status == 1
    note, hint, *_ = [line for line in said.splitlines() if line]
    assert note.startswith("note: nothing will prove this encoder")
    assert hint.startswith("hold some out, by --split=")
    anew = f"{tmp_path}/alone-28"
    assert f"give --data={anew}: bct prepare --source='synthetic(identities=4, images=6" in errors
    _, said, _ = here(train, *arguments, "--protocol=none")
    assert "nothing will prove" not in said
