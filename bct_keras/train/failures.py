"""What the machine did to a run, told in a line.

That is a full disk, a shard or image that cannot be read, a dead worker.
"""

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from bct_keras.callbacks.checkpoints import StoppedError
from bct_keras.data import unreadable
from bct_keras.data.dataset import DataSet
from bct_keras.distribution import workers
from bct_keras.errors import InputError
from bct_keras.heads.head import refusal

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def told(
    workdir: Path, data: DataSet, strategy: tf.distribute.Strategy, last_good: Callable[[], str]
) -> Iterator[None]:
    """Turns what the machine did into an error of a line or two.

    Args:
        workdir: The run's folder.
        data: What it is trained on.
        strategy: The devices, which may be those of several workers.
        last_good: Returns the name of the last good checkpoint, for the message.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise no_room(workdir, error.strerror or "", last_good()) from None
    except tf.errors.ResourceExhaustedError as error:
        message = error.message
        if "space" not in message and "File too large" not in message:  # the memory of a device
            raise
        raise no_room(workdir, message, last_good()) from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError):
        if not workers.spans_workers(strategy):
            raise
        raise StoppedError(
            f"stopped because another worker died, whose own output says why; {last_good()}; start "
            "all workers again and they go on from there"
        ) from None
    except unreadable.FAILURES as error:
        if isinstance(error, tf.errors.OpError) and (refused := refusal(error)):
            raise InputError(refused) from None
        unreadable.look(data)  # raises what names the shard or the image, if it was one
        raise


def no_room(folder: Path, reason: str, last_good: str) -> InputError:
    """Returns the error of a full disk."""
    return InputError(
        f"{folder}: nothing more could be written ({reason.splitlines()[0]}); {last_good}. Make "
        "room and start the same command again"
    )
