"""One training run: what it is made from, and how it is built."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras

from bct_keras import registry
from bct_keras.backbones import BACKBONES
from bct_keras.errors import InputError
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.model import CompatibleModel
from bct_keras.optimizers import OPTIMIZERS
from bct_keras.schedules import SCHEDULES


@dataclass(frozen=True)
class Recipe:
    """The flags that decide what comes out of a run."""

    backbone: str
    dims: int
    head: str
    method: str
    optimizer: str
    schedule: str
    learning_rate: float
    batch_size: int
    epochs: int
    mirror: bool
    seed: int
    compatible_dims: int = 0  # 0: all
    clip_norm: float = 0.0

    def __post_init__(self):
        # A typo is told at once, not after the data was made and the old encoder trained.
        registry.bind(BACKBONES, self.backbone, ("image_size", "dims"))
        registry.bind(HEADS, self.head, ("classes", "dims"))
        registry.bind(METHODS, self.method, ("seed",))
        registry.bind(OPTIMIZERS, self.optimizer, ("learning_rate",))
        registry.bind(SCHEDULES, self.schedule, ("learning_rate", "steps", "steps_per_epoch"))
        if self.compatible_dims > self.dims:
            raise InputError(f"--compatible_dims={self.compatible_dims} is more than --dims={self.dims}")

    @property
    def old_dims(self) -> int:
        """Of the old encoder: the new one's first coordinates are kept compatible."""
        return self.compatible_dims or self.dims

    def described(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def build_method(self) -> Method:
        return registry.build(METHODS, self.method, seed=self.seed)

    def build_model(self, image_size: int, classes: int, steps: int, method: Method) -> CompatibleModel:
        """Compiled, with every weight made; to be called in the strategy's scope."""
        keras.utils.set_random_seed(self.seed)
        backbone = registry.build(BACKBONES, self.backbone, image_size=image_size, dims=self.dims)
        head = registry.build(HEADS, self.head, classes=classes, dims=self.dims)
        model = CompatibleModel(backbone, head, method)
        rate = registry.build(
            SCHEDULES,
            self.schedule,
            learning_rate=self.learning_rate,
            steps=steps,
            steps_per_epoch=steps / self.epochs,
        )
        optimizer = registry.build(OPTIMIZERS, self.optimizer, learning_rate=rate)
        # As the papers do, over the backbone: the head's gradient is of another size.
        optimizer.clip(self.clip_norm, backbone.trainable_variables)
        model.compile(
            optimizer=optimizer,
            jit_compile=False,  # pyright: ignore[reportArgumentType]
        )
        optimizer.build(model.trainable_variables)
        return model

    def steps_per_epoch(self, records: int, replicas: int) -> int:
        if self.batch_size % replicas:
            raise InputError(f"--batch_size={self.batch_size} cannot be divided over {replicas} replicas")
        if records < self.batch_size:
            raise InputError(f"--batch_size={self.batch_size} is more than the {records} images of the data set")
        return records // self.batch_size
