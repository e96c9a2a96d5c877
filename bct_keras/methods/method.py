"""Sets the contract of a method, which keeps the new embedding compatible with the old one."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from bct_keras.errors import InputError
from bct_keras.heads.head import Swapped
from bct_keras.methods.old_source import OldSource


@dataclass(frozen=True)
class Training:
    """Holds what a method may ask about the training before its first step."""

    classes: int  # of the head
    compatible_dims: int  # those of the old embedding; the new one may be wider
    epochs: int = 0  # 0: not known before `fit`
    # Over all epochs, counted as "step" of a batch is: in micro-batches; 0: not known before `fit`
    steps: int = 0


class Method(keras.layers.Layer):
    """Is a layer with a few hooks, so that it may own weights.

    Such are a queue, a discriminator or prototypes. The arguments of a constructor are kept under
    their own names, or `get_config` is overridden: so a saved model has its method as it was made.
    """

    # The fields that it reads from a batch: "old_embedding", "credible"
    needs: tuple[str, ...] = ()
    needs_whole = False  # whether `constants` reads the old embeddings as a whole
    # The values of its arguments that a search for the best ones tries, by name
    tuned: ClassVar[Mapping[str, tuple]] = {}
    maps = False  # whether it maps new embeddings to the old ones, which may then be wider

    compatible_dims: int | None = None
    classes = 0
    epochs = 0
    steps = 0
    knows_whole_run = False  # whether `prepare` was told how long the run is; else `fit` tells

    def __init__(self, **layer: Any):
        super().__init__(**{"dtype": "float32", **layer})
        self.found: dict[str, np.ndarray] = {}
        self.constant_names: list[str] = []

    @property
    def needs_old(self) -> bool:
        """Tells whether the method looks at old embeddings at all."""
        return bool(self.needs) or self.needs_whole

    @property
    def needs_in_words(self) -> str:
        """Says what has to be there for a training, and for a query if that is more."""
        words = ["labels"]
        if self.needs:
            words.append("old embeddings")
        elif self.needs_whole:
            words.append("old classes")
        if self.maps:
            words.append("two outputs for each query")
        return ", ".join(words)

    def constants(self, old: OldSource) -> dict[str, np.ndarray]:
        """Returns what the method keeps of the old embeddings as a whole.

        Each array becomes a weight of that name, which no step changes. It is saved with the model,
        which then goes on with what it began with.
        """
        return {}

    def prepare(self, old: OldSource | None, training: Training) -> None:
        """Looks at the old embeddings as a whole, before the method is built or at others later."""
        self.classes = training.classes
        self.compatible_dims = training.compatible_dims
        if old is None and self.needs_whole:
            raise InputError(f"{type(self).__name__} needs old embeddings, and there are none")
        found = {} if old is None else self.constants(old)
        if self.built:
            self.take(found)
        else:
            self.found = found
        self.knows_whole_run = bool(training.epochs)
        if training.epochs:
            self.plan(training.epochs, training.steps)

    def take(self, found: dict[str, np.ndarray]) -> None:
        """Gives the constants of a method that is built other values."""
        for name, values in found.items():
            weight = getattr(self, name)
            if tuple(weight.shape) != values.shape:
                raise InputError(
                    f"{type(self).__name__} was made for `{name}` {list(weight.shape)}, and these"
                    f" old embeddings give {list(values.shape)}"
                )
            weight.assign(values)

    def plan(self, epochs: int, steps: int) -> None:
        """Takes note of how long the training will be; 0 steps are not known."""
        self.epochs = epochs
        self.steps = steps

    def build(self, input_shape=None):
        """Adds the method's weights; `input_shape` is that of the new embeddings."""
        self.check_prepared()
        for name, values in self.found.items():
            setattr(self, name, self.constant(name, values))
        self.constant_names = list(self.found)  # in the order in which they are made
        self.found = {}

    def check_prepared(self) -> None:
        """Raises where a method would train on nothing."""
        if self.needs_old and self.compatible_dims is None:
            raise InputError(f"{type(self).__name__} was built before prepare() was called")

    def is_filled(self) -> bool:
        """Tells whether the constants hold something: a clone has only their shapes."""
        names = self.constant_names
        for name in names:
            constant = getattr(self, name)
            if np.any(constant.numpy()):
                return True
        return not names

    def branches(self, new: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the new embeddings as the head sees them, and as the penalty does.

        They are the same numbers. What may differ is how much of the gradient of either comes back
        to the backbone.
        """
        return new, new

    def head_input(self, new: tf.Tensor, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns [batch, dims], what the head classifies."""
        return new

    def swapped(self, new: tf.Tensor, batch: dict[str, tf.Tensor]) -> Swapped | None:
        """Returns the rows of `head_input` that are not the new encoder's; None: all are.

        Heads that go by length ask for it.
        """
        return None

    def penalty(
        self, new: tf.Tensor, labels: tf.Tensor, batch: dict[str, tf.Tensor], head
    ) -> tf.Tensor:
        """Returns [batch], a loss on top of the head's."""
        return tf.zeros_like(new[:, 0])

    def shipped(self, encoder: keras.Model) -> keras.Model:
        """Returns the encoder with what this method adds to it for the old gallery."""
        return encoder

    def shipped_weights(self) -> list[np.ndarray]:
        """Returns the weights that `shipped` adds behind those of the encoder."""
        return []

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns what the method does between epochs; `fit` calls it."""
        return []

    def constant(self, name: str, values: np.ndarray):
        """Adds a weight that no step changes."""
        weight = self.add_weight(
            name=name, shape=values.shape, initializer="zeros", trainable=False
        )
        weight.assign(values)
        return weight

    def compatible(self, new: tf.Tensor) -> tf.Tensor:
        """Returns [batch, old dims], what the old gallery is searched with, at length 1."""
        return unit(new[:, : self.compatible_dims])

    def of_classes(self, values: np.ndarray) -> np.ndarray:
        """Returns the values with a row for each class of the head; zeros where there are none."""
        known, *shape = values.shape
        found = np.zeros((self.classes, *shape), np.float32)
        found[:known] = values
        return found

    def get_config(self) -> dict[str, Any]:
        found = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                found |= super().get_config()
            elif hasattr(self, name):
                found[name] = getattr(self, name)
            else:
                raise InputError(
                    f"{type(self).__name__} cannot be saved: it has to keep its argument as"
                    f" self.{name}, or to override get_config"
                )
        return found

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        shapes = {}
        for name in self.constant_names:
            shapes[name] = list(getattr(self, name).shape)
        return {
            "classes": self.classes,
            "compatible_dims": self.compatible_dims,
            "epochs": self.epochs,
            "steps": self.steps,
            "constants": shapes,
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.classes = config["classes"]
        self.compatible_dims = config["compatible_dims"]
        self.epochs = config["epochs"]
        self.steps = config["steps"]
        for name, shape in config["constants"].items():
            self.found[name] = np.zeros(shape, np.float32)
        self.build(None)


def unit(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns [batch, dims] at length 1."""
    return tf.math.l2_normalize(embeddings, axis=1, epsilon=1e-12)


def widened(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Returns [batch, dims]: the old embedding in the first coordinates, 0 in the others."""
    rows, dims = tf.unstack(tf.shape(old))
    _, wanted = tf.unstack(tf.shape(new))
    others = tf.zeros([rows, wanted - dims])
    return tf.concat([old, others], axis=1)
