"""The run's folder log/, for `tensorboard --logdir`: every metric, and the flags."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from bct_keras.models import CompatibleModel

STEPS_BETWEEN_SCALARS = 50
MIXED_ROWS = "mixed_rows"  # the metric of a method that mixes old embeddings into a batch


class TensorBoardLog(keras.callbacks.TensorBoard):
    """Keras's own callback, with the run's flags as text and metrics every few steps besides.

    Keras writes every metric and the learning rate after each epoch, in log/train. It counts steps
    anew in each call of `fit`; here they are those of the run, however often it was broken off.
    """

    def __init__(
        self,
        model: CompatibleModel,
        folder: Path,
        flags: str,
        look: Callable[[], dict[str, float]] | None = None,
        batch_size: int = 0,
    ):
        """Begins or goes on with a log.

        Args:
            model: What is trained.
            folder: The log's folder.
            flags: Text that tells with which options.
            look: Returns further figures by name; it is called after each epoch.
            batch_size: Images in a step, of which mixed rows are a share.
        """
        super().__init__(log_dir=str(folder), write_graph=False, update_freq="epoch")
        self.trained = model
        self.look = look
        self.batch_size = batch_size
        self.writer = tf.summary.create_file_writer(str(folder))
        self.step = int(model.steps.numpy())
        with self.writer.as_default(step=self.step):
            tf.summary.text("flags", as_code(flags))

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % STEPS_BETWEEN_SCALARS:
            return
        values = dict(logs or {})
        values["learning_rate"] = float(self.trained.optimizer.learning_rate)
        with self.writer.as_default(step=self.step):
            for name, value in values.items():
                tf.summary.scalar(f"step/{name}", value)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        values = self.look() if self.look else {}
        mixed = (logs or {}).get(MIXED_ROWS)
        if mixed is not None and self.batch_size:
            values["mixed_share"] = mixed / self.batch_size
        with self.writer.as_default(step=self.step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.writer.flush()


def as_code(text: str) -> str:
    """Returns Markdown that shows the text unchanged."""
    return "".join(f"    {line}\n" for line in text.splitlines())
