"""Bad input through the real commands: exit status 1, one or two lines that name it, and nothing
half-written.

Where a process of its own would show nothing more, the command runs in this one: flags parsed,
`guarded`, exit status.
"""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import forked
import numpy as np
import pytest
from PIL import Image

from bct_keras.data.dataset import open_data_set
from bct_keras.embed import __main__ as embed
from bct_keras.embed import run as embed_run
from bct_keras.encoders import load_encoder
from bct_keras.evaluate import __main__ as evaluate
from bct_keras.export import __main__ as export
from bct_keras.prepare import __main__ as prepare
from bct_keras.train import __main__ as train

Run = Callable[..., tuple[int, str, str]]


def in_a_process_of_its_own(module: ModuleType, *arguments: str) -> tuple[int, str, str]:
    done = forked.run("-m", module.__name__, *arguments)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(workplace) -> Path:
    """A folder source of 4 identities with 3 images each."""
    random = np.random.default_rng(0)
    for identity in "abcd":
        (workplace / "photos" / identity).mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(0, 256, (28, 28, 3), np.uint8)
            Image.fromarray(pixels).save(workplace / "photos" / identity / f"{index}.jpg")
    return workplace / "photos"


@pytest.fixture
def own_data(data_root, workplace) -> Path:
    return Path(shutil.copytree(data_root, workplace / "data"))


@pytest.fixture
def old(tiny_encoder_path, workplace) -> Path:
    return Path(shutil.copy(tiny_encoder_path(4), workplace / "old.keras"))


def contents(folder: Path) -> dict[str, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in paths
    }


def assert_refused(run: Run, module: ModuleType, *arguments: str, said: str) -> None:
    before = contents(Path.cwd())
    status, output, errors = run(module, *arguments)
    assert status == 1, output + errors
    assert errors.startswith("error: ")
    assert 1 <= len(errors.splitlines()) <= 2
    assert re.search(said, errors), errors
    assert output == ""
    assert contents(Path.cwd()) == before


# Images


def test_an_empty_folder(workplace):
    (workplace / "photos").mkdir()
    said = (
        r"^error: photos: 0 identities with images found, at least 2 are needed \(one sub-folder"
        r" per identity"
    )
    assert_refused(
        in_a_process_of_its_own, prepare, "--source=folder(photos)", "--out=data", said=said
    )


def test_a_folder_with_one_identity(photos, here):
    for identity in "bcd":
        shutil.rmtree(photos / identity)
    said = r"^error: photos: 1 identities with images found, at least 2 are needed"
    assert_refused(here, prepare, "--source=folder(photos)", "--out=data", said=said)
    assert_refused(
        here, train, "--source=folder(photos)", "--prepared=data", "--workdir=run", said=said
    )


def cut_off(file: Path) -> str:
    file.write_bytes(file.read_bytes()[:-200])
    return r"the image cannot be decoded"


def no_image(file: Path) -> str:
    file.write_text("not found")
    return "not a JPEG or PNG image"


def another_format(file: Path) -> str:
    encoded = io.BytesIO()
    Image.open(file).save(encoded, "BMP")
    file.write_bytes(encoded.getvalue())
    return "not a JPEG or PNG image"


def test_an_unreadable_image(photos):
    reason = cut_off(photos / "c" / "1.jpg")
    said = (
        rf"^error: c/1\.jpg: {reason}.*\nmend or remove it, or go on without such images by"
        r" --on_bad=skip$"
    )
    arguments = ("--source=folder(photos, image_size=28)", "--out=data")
    assert_refused(in_a_process_of_its_own, prepare, *arguments, said=said)


@pytest.mark.parametrize("harm", [no_image, another_format])
def test_other_unreadable_images(photos, here, harm):
    reason = harm(photos / "c" / "1.jpg")
    arguments = ("--source=folder(photos, image_size=28)", "--out=data")
    assert_refused(here, prepare, *arguments, said=rf"^error: c/1\.jpg: {reason}")


def test_unreadable_images_can_be_skipped_and_are_counted(photos, here):
    reasons = [cut_off(photos / "c" / "1.jpg"), no_image(photos / "d" / "2.jpg")]
    status, output, errors = here(
        prepare, "--source=folder(photos, image_size=28)", "--out=data", "--on_bad=skip"
    )
    assert (status, errors) == (0, "")
    first, counted, *named, then = output.splitlines()
    assert then == "next: bct adapt --new=NEW --old=OLD --data=data --out=adapted/mine"
    assert first == "data written: 10 images of 4 identities"
    assert counted == "2 images left out:"
    for line, name, reason in zip(named, ["c/1.jpg", "d/2.jpg"], reasons, strict=True):
        assert line.startswith(f"  {name}: {reason}")
    data = open_data_set("data")
    assert (data.records, data.classes) == (10, 4)


# Data sets


def a_shard_of(data: Path) -> Path:
    return next((data / "shards").glob("new-*.tfrecord"))


def uses_of(data: str) -> list[tuple[ModuleType, tuple[str, ...]]]:
    """Every command that reads a data set."""
    return [
        (embed, ("--encoder=old.keras", f"--data={data}", "--out=embedded")),
        (
            train,
            (
                "--method=independent",
                "--head=softmax",
                f"--data={data}",
                "--workdir=run",
                "--batch_size=8",
            ),
        ),
        (evaluate, ("--old=old.keras", f"--protocol=retrieval({data})", "--out=report")),
    ]


def test_a_shard_that_was_cut_off(own_data, old, here):
    shard = a_shard_of(own_data)
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-100])
    said = (
        rf"{shard.name}: this shard has {size - 100} bytes and its manifest says {size}: it was cut"
        r" off or changed"
    )
    for module, arguments in uses_of("data/new"):
        assert_refused(here, module, *arguments, said=said)


@pytest.mark.parametrize("use", range(3), ids=["embed", "train", "evaluate"])
def test_a_shard_that_was_changed(own_data, old, here, use):
    shard = a_shard_of(own_data)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    module, arguments = uses_of("data/new")[use]
    said = (
        rf"{shard.name}: this shard is not what its manifest says \(sha256\); remove it, and the "
        r"same prepare makes it anew"
    )
    assert_refused(here, module, *arguments, said=said)


def test_a_shard_that_is_missing(own_data, old, here):
    shard = a_shard_of(own_data)
    shard.unlink()
    for module, arguments in uses_of("data/new"):
        assert_refused(
            here,
            module,
            *arguments,
            said=rf"{shard.name}: this shard is missing; the same prepare makes it anew",
        )


# Old embeddings

TRAIN_ON_NEW = (
    "--data=data/new",
    "--old=by-old",
    "--workdir=run",
    "--batch_size=8",
    "--method=mixbct",
)


def test_embeddings_of_another_data_set(own_data, old):
    embed_run.embed(load_encoder(old), open_data_set("data/old"), Path("by-old"))
    said = (
        r"^error: by-old holds embeddings of another data set \(data/old\), not of data/new; run"
        r" embed on it$"
    )
    assert_refused(in_a_process_of_its_own, train, *TRAIN_ON_NEW, "--dims=4", said=said)


@pytest.mark.parametrize("given", ["by-old", "old.keras"])
def test_old_embeddings_of_another_dimension(own_data, old, here, given):
    embed_run.embed(load_encoder(old), open_data_set("data/new"), Path("by-old"))
    said = (
        rf"^error: {re.escape(given)} has embeddings of 4 dimensions and the new encoder would have"
        r" 5 to be "
        r"compatible; train with --dims=4, or with more and --compatible_dims=4$"
    )
    assert_refused(here, train, *TRAIN_ON_NEW, f"--old={given}", "--dims=5", said=said)


# Flags


def test_a_flag_with_a_typo():
    said = "there is no flag --workdr\ndid you mean --workdir"
    assert_refused(in_a_process_of_its_own, train, "--workdr=run", said=said)


@pytest.mark.parametrize(
    ("typo", "said"),
    [
        ("--method=mixbtc", "unknown name 'mixbtc' in 'mixbtc'; known: .*mixbct"),
        ("--method=mixbct(ratio=1)", "unknown argument 'ratio' .*; mixbct takes: mix_ratio=0.3"),
        ("--head=arcface(margin=0.5", "is not of the form name or name"),
        ("--backbone=iresnet50(dropout=much)", "'dropout' .* has to be of type float, not 'much'"),
        (
            "--optimizer=sgd(0.9, 0, 1)",
            "has too many arguments; sgd takes: momentum=0.9, l2=0.0005",
        ),
        ("--schedule=linear", "unknown name 'linear' .*; known: cosine, polynomial"),
        ("workdir=run", "'workdir=run' was not understood: every argument is a flag, --name=value"),
        ("--workdir=", "--workdir is needed"),
        ("--data=nothing", "nothing: no such folder"),
        ("--data=", "--data is needed, or --source to make a data set from"),
    ],
)
def test_a_typo_within_a_flag_is_told_before_any_work(own_data, old, here, typo, said):
    arguments = ("--data=data/new", "--old=old.keras", "--workdir=run", "--dims=4", typo)
    assert_refused(here, train, *arguments, said=said)


# Places


@pytest.mark.parametrize("holds", ["notes", "another artefact", "a file"])
def test_an_output_folder_that_holds_something_else(own_data, old, workplace, here, holds):
    place = workplace / "place"
    if holds == "another artefact":
        embed_run.embed(load_encoder(old), open_data_set("data/old"), place)
        said = (
            r"place holds something else \(its manifest\.json says 'embeddings'\); choose another"
            r" folder or remove it"
        )
    else:
        said = (
            r"place holds something else \(no manifest\.json\); choose another folder or remove it"
        )
        place.mkdir() if holds == "notes" else place.write_text("mine")
        if holds == "notes":
            (place / "notes.txt").write_text("mine")
    source = "--source=synthetic(identities=4, images=2, image_size=28)"
    commands = [
        (prepare, (source, "--out=place")),
        (
            train,
            (source, "--prepared=made", "--workdir=place"),
        ),  # before it makes data and trains an old encoder
        (evaluate, ("--old=old.keras", "--protocol=retrieval(data/test)", "--out=place")),
        (export, ("--encoder=old.keras", "--out=place")),
    ]
    if holds != "another artefact":
        commands.append((embed, ("--encoder=old.keras", "--data=data/new", "--out=place")))
    for module, arguments in commands:
        assert_refused(here, module, *arguments, said=said)


def test_an_output_folder_that_holds_something_else_in_a_process_of_its_own(workplace):
    (workplace / "run").mkdir()
    (workplace / "run" / "notes.txt").write_text("mine")
    source = "--source=synthetic(identities=4, images=2, image_size=28)"
    said = (
        r"^error: run holds something else \(no manifest\.json\); choose another folder or"
        r" remove it$"
    )
    assert_refused(
        in_a_process_of_its_own, train, source, "--prepared=made", "--workdir=run", said=said
    )
