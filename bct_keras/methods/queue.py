import keras
import tensorflow as tf

from bct_keras import distribution
from bct_keras.errors import InputError
from bct_keras.methods.method import Method, Training


class QueueMethod(Method):
    """A method that looks at the old embeddings of the last steps: those of a batch alone are few."""

    needs = ("old_embedding",)

    def __init__(self, queue: int):
        super().__init__()
        if queue < 1:
            raise InputError(f"queue={queue} has to be at least 1")
        self.queue = queue
        self.old_dims = None

    def prepare(self, training: Training):
        super().prepare(training)
        self.old_dims = training.compatible_dims

    def build(self, input_shape=None):
        self.old_queue = self.row_of_queue("old_queue", (self.prepared(self.old_dims),))
        self.labels_queue = self.row_of_queue("labels_queue", (), "int32", -1)
        self.next_place = self.add_weight(
            name="next_place",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def row_of_queue(self, name: str, row_shape: tuple, dtype: str = "float32", start: float = 0.0):
        # Every replica writes the rows of all, so the copies stay alike and the first one may stand for them.
        return self.add_weight(
            name=name,
            shape=(self.queue, *row_shape),
            dtype=dtype,
            initializer=keras.initializers.Constant(start),
            trainable=False,
            aggregation="only_first_replica",
        )

    def push(self, *pushed: tuple[keras.Variable, tf.Tensor]) -> None:
        """To each queue the rows of all replicas, into the places of the oldest ones."""
        places = tf.zeros([0], tf.int32)
        for queue, of_replica in pushed:
            rows = distribution.gather_rows(of_replica)
            places = (self.next_place + tf.range(tf.shape(rows)[0])) % self.queue
            # Of more rows than there are places only the last ones stay.
            queue.value.scatter_update(tf.IndexedSlices(rows[-self.queue :], places[-self.queue :]))
        self.next_place.assign((self.next_place + tf.size(places)) % self.queue)
