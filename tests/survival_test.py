"""A run that is killed, stopped, out of room or made again: the command with a process of its own,
to be ended.
"""

import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import keras
import numpy as np
import pytest
import tiny_backbones

pytestmark = pytest.mark.seconds(36)

# 36 images in batches of 8: 4 steps an epoch, and a checkpoint in mid-epoch too. What is bit for
# bit the same has Dropout and BatchNorm; a real backbone is killed by `long` tests.
FLAGS = """
--data=faces/new
--old=old.keras
--backbone=tiny_backbones:one_convolution(dropout=0.2)
--head=arcface(margin=0.3, scale=16)
--dims=8
--batch_size=8
--checkpoint_steps=3
--schedule=cosine
--learning_rate=0.02
--replicas=2
--protocol=none
--formats=none
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data_root, tiny_encoder_path) -> Path:
    folder = tmp_path_factory.mktemp("survival")
    shutil.copytree(data_root, folder / "faces")
    shutil.copy(tiny_encoder_path(8), folder / "old.keras")
    shutil.copy(tiny_backbones.__file__, folder)
    (folder / "run.flags").write_text(FLAGS.strip() + "\n")
    return folder


def start(folder: Path, workdir: str, *flags: str, flagfile: str = "run.flags") -> forked.Started:
    given = (f"--flagfile={flagfile}", f"--workdir={workdir}", *flags)
    return forked.start("-m", "bct_keras.train", *given, cwd=folder)


def run(
    folder: Path, workdir: str, *flags: str, flagfile: str = "run.flags"
) -> tuple[int, str, str]:
    process = start(folder, workdir, *flags, flagfile=flagfile)
    said, errors = process.communicate(timeout=300)
    return process.wait(), said, errors


def trained(folder: Path, workdir: str, *flags: str, flagfile: str = "run.flags") -> str:
    status, said, errors = run(folder, workdir, *flags, flagfile=flagfile)
    assert status == 0, said + errors
    return said


def wait_until(process: forked.Started, happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.01)


def checkpoints_of(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("ckpt-*"))


def assert_same(ours: Path, theirs: Path) -> None:
    models: list[Any] = [keras.saving.load_model(path / "encoder.keras") for path in (ours, theirs)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
    with np.load(ours / "head.npz") as one, np.load(theirs / "head.npz") as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


def killed(folder: Path, workdir: str, flags: tuple[str, ...], seconds: float) -> bool:
    """Whether it was still running so long after its training began."""
    process = start(folder, workdir, *flags)
    wait_until(process, lambda: "replica(s)" in process.stdout.readline())
    time.sleep(seconds)
    running = process.poll() is None
    process.kill()
    process.communicate()
    return running


@pytest.mark.long
def test_a_run_of_two_replicas_that_is_killed_ends_bit_for_bit_as_an_unbroken_one(folder):
    flags = ("--method=mixbct", "--epochs=16")
    trained(folder, "runs/whole", *flags)
    process = start(folder, "runs/broken", *flags)
    wait_until(process, lambda: len(checkpoints_of(folder / "runs/broken")) > 1)
    process.kill()
    process.communicate()
    assert re.search(r"going on after step \d+", trained(folder, "runs/broken", *flags))
    assert_same(folder / "runs/broken", folder / "runs/whole")


@pytest.mark.long
@pytest.mark.parametrize("method", ["mixbct", "nccl"])
def test_ten_kills_at_random_moments_change_nothing(folder, method):
    flags = (f"--method={method}", "--epochs=150", "--backbone=iresnet_small(width=4, dropout=0.2)")
    moments = random.Random(method)
    whole, broken = f"runs/whole-{method}", f"runs/broken-{method}"
    trained(folder, whole, *flags)
    kills = sum(killed(folder, broken, flags, moments.uniform(0, 2.5)) for _ in range(10))
    assert kills == 10
    trained(folder, broken, *flags)
    assert_same(folder / broken, folder / whole)


@pytest.mark.long
def test_flags_txt_repeats_a_run_bit_for_bit(folder):
    trained(folder, "runs/first", "--method=mixbct", "--epochs=8")
    assert "--workdir=runs/first\n" in (folder / "runs/first/flags.txt").read_text()
    trained(folder, "runs/again", flagfile="runs/first/flags.txt")
    assert_same(folder / "runs/again", folder / "runs/first")
    assert (folder / "runs/again/metrics.jsonl").read_bytes() == (
        folder / "runs/first/metrics.jsonl"
    ).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_within_ten_seconds(folder, number):
    workdir = f"runs/{number.name}"
    process = start(folder, workdir, "--method=mixbct", "--epochs=400", "--checkpoint_steps=0")
    wait_until(process, lambda: checkpoints_of(folder / workdir))
    asked = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    assert process.returncode == 75
    (step,) = re.findall(
        rf"stopped by {number.name} after step (\d+); the same command goes on from there", said
    )
    assert (folder / workdir / f"checkpoints/ckpt-{step}/ckpt.index").is_file()


OLD_FLAGS = """
--backbone=tiny_backbones:one_convolution
--head=softmax
--method=independent
--batch_size=8
--protocol=none
--formats=none
"""


def training_its_old_encoder(folder: Path, name: str, epochs: int) -> forked.Started:
    (folder / f"{name}.flags").write_text(f"{OLD_FLAGS.strip()}\n--epochs={epochs}\n")
    made = (
        "--data=",
        "--old=",
        "--source=synthetic(identities=12, images=4, image_size=28)",
        f"--prepared={name}/data",
    )
    old = (
        f"--old_flagfile={name}.flags",
        f"--old_workdir={name}/old",
        "--epochs=1",
        "--method=mixbct",
    )
    process = start(folder, f"{name}/new", *made, *old)
    wait_until(process, lambda: checkpoints_of(folder / name / "old"))
    return process


@pytest.mark.long
def test_a_run_that_is_asked_to_stop_stops_the_training_of_its_old_encoder(folder):
    process = training_its_old_encoder(folder, "stopped", 2000)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(
        timeout=60
    )  # of the other process too, which has the same pipe
    assert process.returncode == 75, errors
    assert re.search(r"stopped by SIGINT after step \d+; the same command goes on from there", said)
    assert errors == ""


@pytest.mark.long
def test_after_a_kill_the_training_of_the_old_encoder_that_is_left_is_waited_for(folder):
    process = training_its_old_encoder(folder, "orphan", 150)
    process.kill()
    process.wait()
    again = training_its_old_encoder(folder, "orphan", 150)
    said, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    assert "orphan/old: waiting for another process that trains here" in said
    assert "orphan/old is up to date" in said


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount to make a small disk with")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.long
def test_a_full_disk_is_named_and_earlier_checkpoints_can_be_read(folder, small_disk):
    flags = ("--method=independent", "--epochs=20", "--checkpoints_kept=100", "--replicas=1")
    status, _, errors = run(folder, str(small_disk / "run"), *flags)
    assert status == 1
    (line,) = errors.strip().splitlines()
    assert str(small_disk) in line
    assert re.search(
        r"No space left on device.*the last good checkpoint is .*ckpt-\d+\. Make room", line
    )
    kept = checkpoints_of(small_disk / "run")
    assert kept
    # With room, which is had by fewer checkpoints, the same command goes on.
    larger = folder / "runs/larger"
    shutil.copytree(small_disk / "run", larger)
    assert "going on after step" in trained(folder, "runs/larger", *flags)
    trained(folder, "runs/unbroken", *flags)
    assert_same(larger, folder / "runs/unbroken")
