"""Several processes of one run, and what starts them."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_backbones

from bct_keras.distribution import strategy
from bct_keras.distribution import workers as workers_
from bct_keras.errors import InputError
from bct_keras.prepare.run import prepare

pytestmark = pytest.mark.seconds(300)

ROOT = Path(__file__).parents[1]
LOCAL = ROOT / "export/cluster/local.py"
# Batches of all 36 images: an epoch is a step, and its loss stands in metrics.jsonl. A low rate,
# because PReLU's slope jumps at 0: see contract_test.py.
FLAGS = """
--data=faces/new
--old=old.keras
--backbone=iresnet_small(width=4)
--head=arcface(margin=0.3, scale=16)
--dims=8
--batch_size=36
--epochs=20
--schedule=cosine
--learning_rate=0.001
--protocol=none
--formats=none
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data_root, tiny_encoder_path) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    shutil.copytree(data_root, folder / "faces")
    shutil.copy(tiny_encoder_path(8), folder / "old.keras")
    shutil.copy(tiny_backbones.__file__, folder)
    (folder / "run.flags").write_text(FLAGS.strip() + "\n")
    return folder


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_one_process(folder: Path, *flags: str) -> str:
    return run(folder, "-m", "bct_keras.train", "--flagfile=run.flags", "--replicas=2", *flags)


def by_two_workers(folder: Path, *flags: str) -> str:
    return run(folder, str(LOCAL), "--workers=2", "--", "--flagfile=run.flags", *flags)


def losses_of(run: Path) -> list[float]:
    path = run / "metrics.jsonl"
    return (
        [json.loads(line)["loss"] for line in path.read_text().splitlines()]
        if path.exists()
        else []
    )


# On a processor with AVX-512 VNNI a slope of PReLU that jumps turned a difference in the sixth
# digit into one of 1 % within 20 steps. So what does not depend on the network is tested without.
NO_JUMPS = "--backbone=tiny_backbones:linear"
# Of 70 classes 56 are drawn; a batch has 36 at most, whose rows are always in.
SAMPLED = (
    "--data=many/new",
    "--head=arcface(margin=0.3, scale=16, sample_rate=0.8)",
    NO_JUMPS,
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("mixbct", ["--method=mixbct"]),
        ("nccl", ["--method=nccl(alpha=1, beta=0.01)"]),
        ("sampled", ["--method=mixbct", *SAMPLED]),
    ],
)
def test_two_workers_have_the_losses_of_one_process_with_two_replicas(folder, name, flags):
    if name == "sampled":
        prepare(
            "synthetic(identities=100, images=2, image_size=28)",
            "class(old_share=0.3)",
            folder / "many",
        )
    by_one_process(folder, *flags, f"--workdir=one-{name}")
    by_two_workers(folder, *flags, f"--workdir=two-{name}")
    one, two = losses_of(folder / f"one-{name}"), losses_of(folder / f"two-{name}")
    assert len(one) == len(set(one)) == 20
    assert two == pytest.approx(one, rel=1e-5)


def started(folder: Path, *flags: str) -> list[subprocess.Popen]:
    """As a launcher does that does not look after its workers."""
    ports = runpy.run_path(str(LOCAL))["free_ports"](2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    workers = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, "-m", "bct_keras.train", "--flagfile=run.flags", *flags]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        workers.append(
            subprocess.Popen(command, cwd=folder, env=environment(TF_CONFIG=config), **pipes)
        )
    return workers


def wait_for_epochs(workers: list[subprocess.Popen], run: Path, epochs: int) -> None:
    deadline = time.monotonic() + 200
    while len(losses_of(run)) < epochs and time.monotonic() < deadline:
        assert [worker.poll() for worker in workers] == [None, None]
        time.sleep(0.05)


@pytest.mark.long
def test_a_signal_to_one_worker_stops_all_with_a_checkpoint_of_the_same_step(folder):
    flags = ("--method=mixbct", NO_JUMPS, "--batch_size=12", "--epochs=60", "--workdir=stopped")
    workers = started(folder, *flags)
    wait_for_epochs(workers, folder / "stopped", 3)
    workers[1].terminate()
    chief, other = (worker.communicate(timeout=100)[0].splitlines()[-1] for worker in workers)
    assert [worker.returncode for worker in workers] == [75, 75]
    (step,) = re.findall(
        r"stopped by a signal to another worker after step (\d+); the same command goes on", chief
    )
    assert f"stopped by SIGTERM after step {step}; " in other
    assert f"going on after step {step}" in by_two_workers(folder, *flags)
    by_one_process(folder, *flags[:4], "--workdir=never-stopped")
    stopped, unbroken = losses_of(folder / "stopped"), losses_of(folder / "never-stopped")
    del (
        stopped[int(step) // 3],
        unbroken[int(step) // 3],
    )  # of an epoch that was broken off: the mean of its last steps
    assert stopped == pytest.approx(unbroken, rel=1e-4)


@pytest.mark.long
def test_a_worker_that_dies_stops_the_other_and_both_go_on_later(folder):
    flags = ("--method=mixbct", NO_JUMPS, "--epochs=60", "--workdir=killed")
    workers = started(folder, *flags)
    wait_for_epochs(workers, folder / "killed", 3)
    workers[1].kill()
    said, _ = workers[0].communicate(timeout=60)
    assert workers[0].returncode == 75
    assert "stopped because another worker died" in said.splitlines()[-1]
    assert re.search(
        r"the last good checkpoint is killed/checkpoints/ckpt-\d+; start all workers again", said
    )
    shutil.copytree(folder / "killed", folder / "on-one")
    assert re.search(r"going on after step \d+", by_two_workers(folder, *flags))
    assert re.search(
        r"going on after step \d+", by_one_process(folder, *flags[:3], "--workdir=on-one")
    )
    by_one_process(folder, *flags[:3], "--workdir=unbroken")
    for resumed in ("killed", "on-one"):
        assert losses_of(folder / resumed) == pytest.approx(
            losses_of(folder / "unbroken"), rel=1e-5
        )


@pytest.mark.parametrize(
    ("config", "index", "count"),
    [
        ("", 0, 0),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}', 1, 2),
        (
            (
                '{"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "task": {"type":'
                ' "worker", "index": 1}}'
            ),
            2,
            3,
        ),
        (
            (
                '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief",'
                ' "index": 0}}'
            ),
            0,
            2,
        ),
        (
            (
                '{"cluster": {"worker": ["a:1"], "evaluator": ["b:1"]}, "task": {"type": "worker",'
                ' "index": 0}}'
            ),
            0,
            1,
        ),
    ],
)
def test_workers_are_counted_with_the_chief_first(monkeypatch, config, index, count):
    monkeypatch.setenv("TF_CONFIG", config)
    assert (workers_.worker_index(), workers_.worker_count()) == (index, count)


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[1]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_broken_tf_config_is_refused_in_a_line(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match="TF_CONFIG cannot be understood"):
        workers_.cluster()


TWO_WORKERS = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'


@pytest.mark.parametrize(
    ("kind", "replicas", "config", "message"),
    [
        ("one", 3, "", "strategy=one is one device, and replicas=3 asks for more"),
        ("multiworker", 2, TWO_WORKERS, "replicas=2 is for one machine"),
        ("auto", 2, TWO_WORKERS, "replicas=2 is for one machine"),
    ],
)
def test_replicas_that_nobody_would_use_are_refused(monkeypatch, kind, replicas, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match=message):
        strategy.strategy(kind, replicas)


def test_several_workers_need_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(
        InputError, match="strategy=multiworker needs the environment variable TF_CONFIG"
    ):
        strategy.strategy("multiworker")
