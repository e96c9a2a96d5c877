import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from bct_keras.command.results import as_object
from bct_keras.data.dataset import open_data_set
from bct_keras.embed import run as embed_run
from bct_keras.encoders import load_encoder
from bct_keras.prepare.run import prepare
from bct_keras.progress import Outcome
from bct_keras.train import __main__ as train

FLAGS = (
    "--dry_run",
    "--workdir=run",
    "--backbone=tiny_backbones:one_convolution",
    "--head=arcface(margin=0.3, scale=16)",
    "--batch_size=8",
    "--epochs=3",
    "--dims=4",
)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def told(here):
    """Exit status, and what the summary says of each thing."""

    def run(*arguments: str) -> tuple[int, dict[str, list[str]], str]:
        status, output, errors = here(train, *FLAGS, *arguments)
        found: dict[str, list[str]] = {}
        for line in output.splitlines():
            found.setdefault(line[:12].strip(), []).append(line[12:].strip())
        return status, found, errors

    return run


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_data_set_and_an_old_encoder_that_are_there(
    told, data_root, tiny_encoder_path, workplace
):
    old = tiny_encoder_path(4)
    arguments = (f"--data={data_root}/new", f"--old={old}", "--method=mixbct")
    status, found, errors = told(*arguments, f"--protocol=retrieval({data_root}/test)")
    assert (status, errors) == (0, "")
    assert found["data"] == [f"{data_root}/new is whole: 36 images of 6 identities, 28 x 28"]
    assert found["method"] == ["needs old embeddings"]
    (few,) = found["amount"]
    assert few.startswith("note: 36 images of 6 identities are too few to train a network from ")
    assert found["old encoder"] == [f"{old}: an encoder of images of 28 x 28, of 4 dimensions"]
    assert found["workdir"] == ["run would be made"]
    assert found["protocol"] == [f"retrieval({data_root}/test): its files are there"]
    assert found["steps"] == [
        "4 an epoch, 12 in all 3, each of 8 images, 8 images a device"
    ]  # 36 / 8
    assert found["dry run: eve"] == ["rything is there; nothing was trained"]
    assert files(workplace) == set()


def test_the_sum_of_the_memory_is_told(told, data_root):
    _, found, _ = told(f"--data={data_root}/new", "--method=independent")
    numbers = [line.split()[0] for line in found["memory"]]
    *parts, total = [float(number.replace(",", "")) for number in numbers]
    assert total == pytest.approx(sum(parts), abs=0.05 * len(parts))
    assert any("weights of the head, counted" in line for line in found["memory"])
    assert any("activations of 8 images, estimated" in line for line in found["memory"])


def test_what_would_be_made_first(told, workplace):
    (workplace / "old.flags").write_text("--head=softmax\n")
    source = "--source=synthetic(identities=20, images=5, image_size=28)"
    arguments = (source, "--prepared=data", "--old_flagfile=old.flags", "--old_workdir=runs/old")
    status, found, _ = told(
        *arguments, "--split=data(old_share=0.4, test_share=0.2)", "--scenario=open"
    )
    assert status == 0
    # 16 identities are trained on, with 5 - 2 images each for the new encoder
    made_from = source.removeprefix("--source=")
    assert found["data"] == [
        f"data/new would be made from {made_from}: 48 images of 16 identities, 28 x 28"
    ]
    assert found["old encoder"] == [
        "runs/old would be trained first, by old.flags, with 4 dimensions"
    ]
    assert found["steps"] == ["6 an epoch, 18 in all 3, each of 8 images, 8 images a device"]
    _, found, _ = told(
        *arguments, "--split=data(old_share=0.4, test_share=0.2)", "--scenario=extended"
    )
    assert found["data"] == [
        f"data/all would be made from {made_from}: 80 images of 16 identities, 28 x 28"
    ]
    assert files(workplace) == {"old.flags"}


def test_a_recordio_folder_that_is_there(told, write_recordio, insightface_records, workplace):
    write_recordio(workplace / "faces", insightface_records)
    arguments = (
        "--source=recordio(faces)",
        "--split=class(old_share=0.34)",
        "--method=independent",
        "--batch_size=4",
    )
    status, found, _ = told(*arguments)
    assert status == 0
    # images 1, 3 and 2 of three identities, of which the first one is the old encoder's
    assert found["data"] == [
        "data/demo/new would be made from recordio(faces): 5 images of 2 identities, 16 x 16"
    ]
    assert found["method"] == ["needs no old encoder"]
    assert "old encoder" not in found
    assert found["steps"] == ["1 an epoch, 3 in all 3, each of 4 images, 4 images a device"]


def test_what_is_missing_is_named_and_the_rest_is_told_all_the_same(told):
    arguments = (
        "--source=recordio(ms1m)",
        "--old_flagfile=none.flags",
        "--protocol=pairs(lfw.bin)",
        "--replicas=2",
    )
    status, found, errors = told(*arguments, "--method=mixbct")
    assert status == 1
    assert (
        errors == "error: dry run: 3 of the things that training needs are not ready, named above\n"
    )
    assert found["data"] == ["NOT READY: ms1m: no such folder (one with a .rec file was expected)"]
    assert found["old encoder"] == [
        "NOT READY: --old_flagfile=none.flags: no such file, and --old is not given"
    ]
    (protocol,) = found["protocol"]
    assert protocol.startswith("NOT READY: lfw.bin")
    assert found["steps"] == [
        "of 8 images, 4 images a device; how many is not known without the data"
    ]
    # 4 dimensions: weights, gradient and momentum of a class; 4 images and their logits three times
    assert re.search(r"in all, on each device, and 96 bytes a class$", found["memory"][-1])


@pytest.fixture
def facts_of(told, monkeypatch):
    """What a dry run tells programs, beside what `told` returns."""
    outcomes: list[Outcome] = []
    monkeypatch.setattr(train.command, "finish", outcomes.append)

    def run(*arguments: str):
        status, found, _ = told(*arguments)
        (outcome,) = outcomes
        return status, found, outcome.text, json.loads(as_object(outcome.facts))

    return run


def test_programs_are_told_all_that_people_are(facts_of, data_root):
    status, found, _, facts = facts_of(f"--data={data_root}/new", "--method=independent")
    assert (status, facts["ready"]) == (0, True)
    by_name: dict[str, list[str]] = {}
    for each in facts["looked_at"]:
        assert each["ready"]
        by_name.setdefault(each["name"], []).append(each["said"])
    assert by_name == found
    numbers = {each["name"]: each for each in facts["looked_at"]}
    of_data = numbers["data"]
    assert (of_data["records"], of_data["classes"], of_data["image_size"]) == (36, 6, 28)
    assert numbers["devices"]["replicas"] == 1
    of_steps = numbers["steps"]
    assert (of_steps["steps_an_epoch"], of_steps["steps"]) == (4, 12)  # 36 / 8, three times
    total = float(found["memory"][-1].split()[0].replace(",", ""))
    assert facts["bytes_a_device"] == pytest.approx(total * 1e6, abs=0.05e6)


def test_programs_are_told_what_is_not_ready(facts_of, data_root):
    status, _, text, facts = facts_of(f"--data={data_root}/new", "--method=mixbct")
    assert (status, facts["ready"]) == (1, False)
    assert text == "not ready: old encoder"
    missing = [each for each in facts["looked_at"] if not each["ready"]]
    assert [each["name"] for each in missing] == ["old encoder"]
    assert missing[0]["said"].startswith("NOT READY: give --old")


@pytest.mark.parametrize(
    ("arguments", "name", "said"),
    [
        (
            ("--batch_size=64",),
            "steps",
            "--batch_size=64 is more than the 36 images of the data set",
        ),
        (
            ("--replicas=3",),
            "steps",
            "--batch_size=8 cannot be divided over 3 replicas and 1 micro-batches",
        ),
        (
            ("--augment=flip, crop(scale=7)",),
            "recipe",
            "scale=7 of crop has to be above 0 and at most 1",
        ),
        (
            ("--batch=classes(8, images=1)",),
            "steps",
            "--batch=classes(8, images=1) needs 8 identities for a batch, and the data set has 6",
        ),
        (
            ("--old=by-old", "--dims=5"),
            "old encoder",
            "by-old has embeddings of 4 dimensions and the new encoder",
        ),
        (("--old=",), "old encoder", "give --old, an encoder or a folder made by embed"),
    ],
)
def test_what_does_not_fit_together(told, data_root, tiny_encoder_path, arguments, name, said):
    embed_run.embed(
        load_encoder(tiny_encoder_path(4)), open_data_set(data_root / "new"), Path("by-old")
    )
    status, found, _ = told(f"--data={data_root}/new", "--old=by-old", *arguments)
    assert status == 1
    assert found[name][0].startswith(f"NOT READY: {said}")


def test_a_data_set_that_holds_the_test_too(told, data_root):
    status, found, _ = told(f"--data={data_root}", "--method=independent")
    assert status == 1
    assert found["data"][0].startswith(f"NOT READY: {data_root} holds the test's identities too")


def test_a_shard_that_was_changed(told, data_root):
    copy = Path(shutil.copytree(data_root, "data"))
    shard = next((copy / "shards").glob("new-*.tfrecord"))
    content = np.fromfile(shard, np.uint8)
    content[len(content) // 2] ^= 1
    content.tofile(shard)
    status, found, _ = told("--data=data/new", "--method=independent")
    assert status == 1
    assert "this shard is not what its manifest says" in found["data"][0]


def test_a_run_folder_that_holds_something_else(told, data_root, workplace):
    (workplace / "run").mkdir()
    (workplace / "run" / "notes.txt").write_text("mine")
    status, found, _ = told(f"--data={data_root}/new", "--method=independent")
    assert status == 1
    assert found["workdir"][0].startswith("NOT READY: run holds something else")


def test_nothing_that_would_prove_the_encoder(told, data_root, tiny_encoder_path, tmp_path):
    shutil.copytree(data_root / "shards", tmp_path / "alone/shards")
    for name in ("manifest.json", "shards.table"):
        shutil.copy(data_root / name, tmp_path / "alone")
    arguments = ("--data=alone", f"--old={tiny_encoder_path(4)}", "--method=mixbct")
    status, found, _ = told(*arguments)
    assert status == 0
    note, hint = found["proof"]
    assert note.startswith("note: nothing will prove this encoder")
    assert "unproven" in note
    assert "--split='class(test_share=0.2)'" in hint
    end = "rything is there, but what would prove the encoder; nothing was trained"
    assert found["dry run: eve"] == [end]
    for proven in (f"--protocol=retrieval({data_root}/test)", "--protocol=none"):
        _, found, _ = told(*arguments, proven)
        assert "proof" not in found


@pytest.mark.parametrize(("split", "lacks"), [("class(old_share=0.3)", True), ("", False)])
def test_a_split_that_would_hold_nobody_out(told, workplace, split, lacks):
    (workplace / "old.flags").write_text("--head=softmax\n")
    source = "--source=synthetic(identities=20, images=5, image_size=28)"
    splits = [f"--split={split}"] if split else []  # by default a fifth is held out
    _, found, _ = told(source, "--prepared=data", "--old_flagfile=old.flags", *splits)
    assert ("proof" in found) == lacks


def test_a_start_of_another_size_names_the_command_that_prepares_anew(
    told, data_root, tiny_encoder_path, tmp_path
):
    small = tmp_path / "own/data"
    prepare("synthetic(identities=12, images=6)", "class(test_share=0.34)", small, seed=3)
    start = f"--start={tiny_encoder_path(4)}"
    arguments = (f"--old={tiny_encoder_path(4)}", "--method=mixbct")
    for folder in ("", "-2"):
        _, found, _ = told(f"--data={small}/all", start, *arguments)
        (said,) = found["start"]
        anew = f"{small}-28{folder}"
        assert "takes images of 28 x 28 pixels, and those to train on have 32 x 32" in said
        assert said.endswith(
            f"give --data={anew}/all: bct prepare --source='synthetic(identities=12, images=6, "
            f"image_size=28)' --split='class(test_share=0.34)' --seed=3 --out={anew}"
        )
        Path(anew).mkdir()
        (Path(anew) / "file").touch()
    _, found, _ = told(f"--data={data_root}/new", start, *arguments)
    assert ", of images of 28 x 28, then at 0.1 of" in found["start"][0]
    _, found, _ = told(start, *arguments)  # which size it is is told without any data too
    assert ", of images of 28 x 28, then at 0.1 of" in found["start"][0]
    assert found["old encoder"][0].endswith("an encoder of images of 28 x 28, of 4 dimensions")
