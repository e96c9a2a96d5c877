"""What a training lacks is told before TensorFlow is there."""

import subprocess
import sys

import pytest

from bct_keras.errors import InputError
from bct_keras.train import at_once


@pytest.mark.parametrize(
    ("workdir", "data", "source", "said"),
    [
        (None, "data", None, "workdir is needed"),
        ("run", None, None, "data is needed, or source"),
        ("run", "nowhere", None, r"nowhere: no such folder \(a data set was expected\)"),
    ],
)
def test_what_is_not_there_is_told(workdir, data, source, said):
    with pytest.raises(InputError, match=said):
        at_once.check(workdir, data, source)


def test_what_is_there_and_what_cannot_be_seen_at_once_passes(tmp_path):
    at_once.check("run", str(tmp_path), None)
    at_once.check("run", None, "folder(photos)")
    at_once.check("run", "s3://bucket/data", None)


def test_the_command_tells_it_without_tensorflow(tmp_path):
    """A process of its own, where nothing has imported TensorFlow yet; here it has been."""
    program = (
        "import sys; sys.modules['tensorflow'] = None; sys.argv = ['train', '--workdir=w', "
        "'--data=nowhere']; import runpy; runpy.run_module('bct_keras.train', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: nowhere: no such folder (a data set was expected)" in done.stderr
