import keras
import tensorflow as tf

from bct_keras.distribution import replicas
from bct_keras.errors import InputError
from bct_keras.methods.method import Method


class QueueMethod(Method):
    """A method that looks at the old embeddings of the last steps: a batch has few."""

    needs = ("old_embedding",)

    def __init__(self, queue: int, temperature: float, **layer):
        super().__init__(**layer)
        if queue < 1:
            raise InputError(f"queue={queue} has to be at least 1")
        if temperature <= 0:
            raise InputError(f"temperature={temperature:g} has to be above 0")
        self.queue = queue
        self.temperature = temperature

    def build(self, input_shape=None):
        super().build(input_shape)
        self.old_queue = self.add_queue("old_queue", (self.compatible_dims,))
        self.labels_queue = self.add_queue("labels_queue", (), "int32", -1)
        self.next_place = self.add_weight(
            name="next_place",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def add_queue(self, name: str, row_shape: tuple, dtype: str = "float32", start: float = 0.0):
        """Adds a weight with a place for each of the last rows."""
        # Every replica writes the rows of all, so the copies stay alike and the first one may stand
        # for them.
        return self.add_weight(
            name=name,
            shape=(self.queue, *row_shape),
            dtype=dtype,
            initializer=keras.initializers.Constant(start),
            trainable=False,
            aggregation="only_first_replica",
        )

    def push(self, *pushed: tuple[keras.Variable, tf.Tensor]) -> None:
        """Writes the rows of all replicas into each queue, into the places of the oldest ones."""
        gathered = []
        for queue, rows in pushed:
            gathered.append((queue, replicas.gather_rows(rows)))
        _, first_rows = gathered[0]
        count = tf.shape(first_rows)[0]
        places = (self.next_place + tf.range(count)) % self.queue
        # Of more rows than there are places only the last ones stay.
        kept = places[-self.queue :]
        for queue, rows in gathered:
            update = tf.IndexedSlices(rows[-self.queue :], kept)
            queue.value.scatter_update(update)
        self.next_place.assign((self.next_place + count) % self.queue)
