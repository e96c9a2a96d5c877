"""What a training lacks is told before TensorFlow is there."""

import subprocess
import sys

import pytest

from bct_keras.errors import InputError
from bct_keras.train import at_once


def test_a_data_set_that_is_not_named_or_not_there_is_told():
    with pytest.raises(InputError, match="data is needed, or source"):
        at_once.check(None, None)
    with pytest.raises(InputError, match=r"nowhere: no such folder \(a data set was expected\)"):
        at_once.check("nowhere", None)


# What is there, what is made later, and what only a store knows.
@pytest.mark.parametrize(
    ("data", "source"), [(".", None), (None, "folder(photos)"), ("s3://bucket/data", None)]
)
def test_what_cannot_be_seen_at_once_is_left_to_the_training(data, source):
    assert at_once.check(data, source) is None


def test_the_command_tells_it_without_tensorflow(tmp_path):
    """A process of its own, where nothing has imported TensorFlow yet; here it has been."""
    program = (
        "import sys; sys.modules['tensorflow'] = None; sys.argv = ['train', '--workdir=w', "
        "'--data=nowhere']; import runpy; runpy.run_module('bct_keras.train', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: nowhere: no such folder (a data set was expected)" in done.stderr
