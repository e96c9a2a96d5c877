"""What the package sets for TensorFlow, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bct_keras

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


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs Python with the user's own environment less what concerns Keras and TensorFlow."""
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))
    }
    return subprocess.run(
        [sys.executable, *(arguments or ("-c", code))],
        env=others | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


IMPORT_ALONE = """
import os, sys
before = dict(os.environ)
import bct_keras
assert dict(os.environ) == before
print(sorted({"keras", "tensorflow", "numpy"} & set(sys.modules)), bct_keras.__version__)
"""
# In the place of Keras on a backend that is not installed here
OTHER_KERAS = """
import sys, types
keras = types.ModuleType("keras")
keras.config = types.SimpleNamespace(backend=lambda: "jax")
sys.modules["keras"] = keras
import bct_keras
"""


def test_importing_the_package_imports_and_sets_nothing():
    done = run(IMPORT_ALONE)
    assert done.stdout == f"[] {bct_keras.__version__}\n", done.stderr


def test_every_public_name_is_there():
    assert set(bct_keras.__all__) <= set(dir(bct_keras))
    for name in bct_keras.__all__:
        assert getattr(bct_keras, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = bct_keras.no_such_name


@pytest.mark.parametrize(
    ("code", "environment"),
    [("import bct_keras", {"KERAS_BACKEND": "jax"}), (OTHER_KERAS, {})],
    ids=["chosen", "imported"],
)
def test_another_backend_is_told(code, environment):
    done = run(code, **environment)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()[-2:]
    assert first.endswith(
        "InputError: bct_keras needs Keras on TensorFlow, and the backend of Keras is jax."
    )
    assert second == "Set KERAS_BACKEND=tensorflow in the environment, before Keras is imported"


def test_a_command_tells_of_another_backend_in_two_lines():
    done = run("", "-m", "bct_keras.embed", "--help", KERAS_BACKEND="jax")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: bct_keras needs Keras on TensorFlow, and the backend of Keras is jax.",
        "Set KERAS_BACKEND=tensorflow in the environment, before Keras is imported",
    ]


def test_a_command_chooses_the_backend_where_nobody_has(tmp_path):
    """Keras has a file for that, which is of other programs too; this one would need JAX."""
    (tmp_path / "keras.json").write_text('{"backend": "jax", "floatx": "float32"}')
    done = run("", "-m", "bct_keras.embed", "--help", KERAS_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


# In the place of TensorFlow, which takes seconds: it writes past Python, as TensorFlow does, and it
# may be broken.
NOISY = "import os\nos.write(2, b'failed call to cuInit\\n')\n"


@pytest.mark.parametrize(
    ("level", "noise"), [(None, ""), ("0", "failed call to cuInit\n"), ("2", ""), ("3", "")]
)
def test_tensorflow_starts_without_a_word_unless_the_user_wants_it(tmp_path, level, noise):
    (tmp_path / "tensorflow.py").write_text(NOISY)
    code = "import bct_keras, os, tensorflow; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    set_by_user = {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    done = run(code, PYTHONPATH=f"{ROOT}:{tmp_path}", **set_by_user)
    assert (done.stdout, done.stderr) == (f"{level or 3}\n", noise)


def test_why_tensorflow_cannot_be_imported_is_seen(tmp_path):
    (tmp_path / "tensorflow.py").write_text(f"{NOISY}raise ImportError('libfoo.so is missing')\n")
    done = run("import bct_keras, tensorflow", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert "failed call" not in done.stderr
    assert done.stderr.endswith("ImportError: libfoo.so is missing\n")


@pytest.mark.long
@pytest.mark.parametrize(
    ("setting", "kept"), [({}, True), ({"TF_CPU_ALLOCATOR_USE_BFC": "false"}, False)]
)
def test_large_tensors_reuse_memory_unless_the_user_has_turned_it_off(setting, kept):
    others = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    # So that in the second case every block goes back to the system: no oneDNN with its own
    # allocator, and glibc told.
    settings = {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "MALLOC_MMAP_THRESHOLD_": "1000000",
        "PYTHONPATH": str(ROOT),
    } | setting
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
