"""Programs that are forks of one process end, speak and are killed as those that Python was started
for.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import forked
import pytest

pytestmark = pytest.mark.seconds(12)

SPEAKS = """
import os, sys
print(sys.argv[1:], __name__, os.getcwd(), os.environ.get("GIVEN"))
print("an error", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
WAITS = """
import time
print("waiting", flush=True)
time.sleep(100)
"""
DIVIDES = """
import sys
from bct_keras.distribution import strategy
strategy.divide_cpu(int(sys.argv[1]))
import tensorflow as tf
with tf.device("CPU:1"):
    print(len(tf.config.list_logical_devices("CPU")), tf.reduce_sum(tf.ones(5)).numpy())
"""
STARTS = """
import subprocess, sys
for arguments in (["-m", "bct_keras.train", "--nothing"], ["-c", "import sys; sys.exit(7)"]):
    print(subprocess.run([sys.executable, *arguments], stderr=subprocess.PIPE).returncode)
"""


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("status", ["0", "3"])
def test_a_script_says_and_returns_what_it_does_by_itself(tmp_path, status):
    arguments = [str(script(tmp_path, SPEAKS)), status]
    environment = os.environ | {"GIVEN": "to it"}
    alone = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    ours = forked.run(*arguments, cwd=tmp_path, env=environment)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        alone.returncode,
        alone.stdout,
        alone.stderr,
    )
    assert ours.returncode == int(status)


@pytest.mark.parametrize("status", [0, 1])
def test_a_command_says_and_returns_what_it_does_by_itself(status):
    arguments = ["-m", "bct_keras.train", "--workdr=x" if status else "--help"]
    alone = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    ours = forked.run(*arguments)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        alone.returncode,
        alone.stdout,
        alone.stderr,
    )
    assert ours.returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_can_be_killed(tmp_path, number):
    started = forked.start(script(tmp_path, WAITS))
    assert started.stdout.readline() == "waiting\n"
    assert started.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        started.communicate(timeout=0.1)
    started.send_signal(number)
    assert started.wait(timeout=20) == -number


def test_each_divides_the_processor_as_it_likes(tmp_path):
    """The process that they are forks of has not used TensorFlow."""
    path = script(tmp_path, DIVIDES)
    assert [forked.run(path, str(devices)).stdout for devices in (2, 3)] == ["2 5.0\n", "3 5.0\n"]


def test_what_a_program_starts_is_a_fork_where_it_is_a_module(tmp_path):
    assert forked.run(script(tmp_path, STARTS)).stdout == "1\n7\n"
