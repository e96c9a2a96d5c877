import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from bct_keras.callbacks.checkpoints import StoppedError
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.distribution import workers
from bct_keras.errors import InputError
from bct_keras.train import failures
from bct_keras.train.input import training_batches


@pytest.fixture
def data(data_root, tmp_path) -> DataSet:
    return open_data_set(shutil.copytree(data_root, tmp_path / "faces") / "new")


def told(data: DataSet):
    last_good = "the last good checkpoint is ckpt-8"
    return failures.told(Path("runs/x"), data, tf.distribute.get_strategy(), lambda: last_good)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(
            None, None, "runs/x/log/events; No space left on device\nmore"
        ),
    ],
    ids=["Python", "TensorFlow"],
)
def test_a_full_disk_is_named_with_the_last_good_checkpoint(data, error):
    with pytest.raises(InputError) as raised, told(data):
        raise error
    (line,) = str(raised.value).splitlines()
    assert line.startswith("runs/x: nothing more could be written (")
    assert line.endswith(
        "No space left on device); the last good checkpoint is ckpt-8. Make room and start the same"
        " command again"
    )


def test_a_device_without_memory_is_no_full_disk(data):
    with pytest.raises(tf.errors.ResourceExhaustedError), told(data):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def test_a_shard_that_was_damaged_while_training_is_named(data):
    shard = data.shards[0].path
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=str(shard)), told(data):
        list(training_batches(data, None, (), 8, seed=0, first_step=0, epochs=1, mirror=False))


def test_an_error_that_no_shard_made_stays_as_it_is(data):
    with pytest.raises(tf.errors.InternalError, match="something else"), told(data):
        raise tf.errors.InternalError(None, None, "something else")


def test_a_dead_worker_means_start_again(data, monkeypatch):
    lost: Any = tf.errors.UnavailableError(None, None, "task 1 is unhealthy")
    with pytest.raises(tf.errors.UnavailableError), told(data):
        raise lost  # there is only one
    monkeypatch.setattr(workers, "spans_workers", lambda strategy: True)
    with (
        pytest.raises(
            StoppedError, match=r"another worker died.* checkpoint is ckpt-8; start all workers"
        ),
        told(data),
    ):
        raise lost
