"""What the package sets for TensorFlow, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.seconds(9)

ROOT = Path(__file__).parents[1]
PAGE_FAULTS_OF_LARGE_TENSORS = """
import resource
import bct_keras
import tensorflow as tf
row = tf.random.stateless_uniform((1, 16_000_000), (1, 2))
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    row + 1.0
before = faults()
for _ in range(5):
    row + 1.0
print(faults() - before)
"""


@pytest.mark.parametrize(("setting", "kept"), [({}, True), ({"TF_CPU_ALLOCATOR_USE_BFC": "false"}, False)])
def test_large_tensors_reuse_memory_unless_the_user_has_turned_it_off(setting, kept):
    others = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    # So that in the second case every block goes back to the system: no oneDNN with its own allocator, and glibc told.
    settings = {"TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_MMAP_THRESHOLD_": "1000000", "PYTHONPATH": str(ROOT)} | setting
    done = subprocess.run(
        [sys.executable, "-c", PAGE_FAULTS_OF_LARGE_TENSORS],
        env=others | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # 64 MB in pages of 4 KiB, five times: 78,125 of them where each is new
    assert (int(done.stdout.split()[-1]) < 5_000) == kept
