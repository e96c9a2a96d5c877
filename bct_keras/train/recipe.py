"""One training run: what it is made from, and how it is built."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from bct_keras import _keras, specs
from bct_keras.augmentations import AUGMENTATIONS, trial
from bct_keras.backbones import BACKBONES, one_dnn
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards
from bct_keras.errors import InputError, option
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method
from bct_keras.models import CompatibleModel
from bct_keras.optimizers import OPTIMIZERS
from bct_keras.schedules import SCHEDULES
from bct_keras.train import on_top
from bct_keras.train import start as starts
from bct_keras.train.class_batches import ClassBatches, Classes, batches_of

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Recipe:
    """What decides which encoder comes out of a run; the names are those of the options."""

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
    precision: str = "float32"
    micro_batches: int = 1
    synchronized: bool = True
    average: float = 0.0
    on_nan: str = "fail"
    compatible_dims: int = 0  # 0: all
    clip_norm: float = 0.0
    augment: str = "flip"  # specs, or none
    batch: str = "random"
    start: str = ""  # the network to start from; "" is random weights
    frozen_epochs: int = 0  # of what is taken from it
    start_rate: float = 0.1  # of what is taken from it: so much of the learning rate

    def __post_init__(self):
        # A typo is told at once, not after the data was made and the old encoder trained.
        specs.bind(BACKBONES, self.backbone, ("image_size", "dims"))
        specs.bind(HEADS, self.head, ("classes",))
        specs.bind(METHODS, self.method, ("seed",))
        specs.bind(OPTIMIZERS, self.optimizer, ("learning_rate",))
        specs.bind(SCHEDULES, self.schedule, ("learning_rate", "steps", "steps_per_epoch"))
        if not 0 <= self.average < 1:
            raise InputError(f"{option('average', self.average)} has to be at least 0 and below 1")
        if self.compatible_dims > self.dims and not self.build_method().maps:
            compatible = option("compatible_dims", self.compatible_dims)
            raise InputError(f"{compatible} is more than {option('dims', self.dims)}")
        for _, spec in self.augmentations():
            specs.bind(AUGMENTATIONS, spec, ("seed",))
        batches_of(self.batch).check(self.batch_size)
        self.check_start()

    def check_start(self) -> None:
        """Raises where the network to start from is not there, or its options do not go with it."""
        if self.frozen_epochs and not self.start:
            frozen = option("frozen_epochs", self.frozen_epochs)
            raise InputError(f"{frozen} needs {option('start')}: random weights are not frozen")
        if not 0 < self.start_rate <= 1:
            rate = option("start_rate", self.start_rate)
            raise InputError(f"{rate} has to be above 0 and at most 1")
        if not self.start:
            return
        found = starts.found(self.start)
        if self.precision != "float32" and not found.is_weights:
            raise InputError(
                f"{option('precision', self.precision)} needs layers that are made anew, and those "
                f"of {self.start} stay float32, as they were saved; leave it out"
            )

    @property
    def old_dims(self) -> int:
        """The old encoder's dimensions: so many coordinates are kept compatible."""
        return self.compatible_dims or self.dims

    def described(self) -> dict[str, Any]:
        """Returns all of it, for the run's manifest.

        What came later than the first runs stands there only where it is used, so that those are
        still found to be up to date.
        """
        described = dataclasses.asdict(self)
        described["jit"] = False  # a setting of the first runs, which is gone
        if self.start:
            described |= starts.found(self.start).made_from()
        else:
            for name in ("start", "frozen_epochs", "start_rate"):
                del described[name]
        for name in ("augment", "batch"):
            if described[name] == getattr(Recipe, name):
                del described[name]
        return described

    @property
    def flips(self) -> bool:
        """Tells whether half of the images are mirrored, which is done while they are decoded."""
        return self.mirror and any(name == "flip" for name, _ in self.augmentations())

    def augmentations(self) -> list[tuple[str, str]]:
        """Returns the name and the spec of each augmentation."""
        found = []
        for each in specs.split_arguments(self.augment, self.augment):
            if each != "none":
                found.append((specs.parse(each).name, each))
        return found

    def build_augmentations(self) -> list[keras.layers.Layer]:
        """Returns the layers that change images, but for the flip."""
        return [layer for _, layer in self.named_augmentations()]

    def named_augmentations(self) -> list[tuple[str, keras.layers.Layer]]:
        """Returns the spec of each augmentation but the flip, and its layer, made anew."""
        found = []
        for name, spec in self.augmentations():
            if name == "flip":
                continue
            layer = specs.build(AUGMENTATIONS, spec, seed=self.seed)
            specs.require(keras.layers.Layer, layer, spec)
            found.append((spec, layer))
        return found

    def by_class(
        self, data: DataSet, old: EmbeddingShards | None, fields: tuple[str, ...]
    ) -> ClassBatches | None:
        """Returns the batches by identities, where they are asked for."""
        made = batches_of(self.batch)
        if not isinstance(made, Classes):
            return None
        return ClassBatches(
            data=data,
            identities=made.identities_in(self.batch_size),
            images=made.images,
            seed=self.seed,
            old=old,
            fields=fields if old else (),
        )

    def build_method(self) -> Method:
        """Returns the method, which is not yet prepared."""
        return specs.build(METHODS, self.method, seed=self.seed)

    def build_model(
        self, image_size: int, classes: int, steps: int, method: Method
    ) -> CompatibleModel:
        """Returns the model compiled, with every weight made.

        It is to be called in the strategy's scope.
        """
        keras.utils.set_random_seed(self.seed)
        with precision_policy(self.precision):
            return self._build_model(image_size, classes, steps, method)

    def build_backbone(self, image_size: int) -> keras.Model:
        """Returns the network, with new weights or those that it starts from."""
        return self.started(image_size).backbone

    def started(self, image_size: int) -> starts.Started:
        """Returns the network as it is before the first step, and where it comes from in words."""

        def fresh() -> keras.Model:
            return self.fresh_backbone(image_size)

        if not self.start:
            return starts.Started(fresh(), f"{self.backbone}, with random weights")
        return starts.found(self.start).build(image_size, self.dims, fresh)

    def fresh_backbone(self, image_size: int) -> keras.Model:
        """Returns the network that `backbone` names, with new weights."""
        backbone = specs.build(
            BACKBONES,
            self.backbone,
            image_size=image_size,
            dims=self.dims,
        )
        specs.require(keras.Model, backbone, self.backbone)
        return backbone

    def build_encoder(self, trained: CompatibleModel, image_size: int) -> keras.Model:
        """Returns the trained encoder as it is kept: in float32, whatever it was trained in."""
        encoder: Any
        if self.start and not self.start.endswith(starts.WEIGHTS):
            encoder = keras.models.clone_model(trained.backbone)  # the file may be gone by now
        else:
            encoder = self.fresh_backbone(image_size)
        encoder.set_weights(trained.backbone.get_weights())
        return trained.method.shipped(encoder)

    def _build_model(
        self, image_size: int, classes: int, steps: int, method: Method
    ) -> CompatibleModel:
        """Does the same, in the precision that layers are made in now."""
        backbone = self.build_backbone(image_size)
        where = self.start or option("backbone", self.backbone)
        one_dnn.check_gradients(backbone, where)
        for layer in _keras.layers_within(backbone):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = self.synchronized
        head = specs.build(HEADS, self.head, classes=classes)
        model = CompatibleModel(
            backbone,
            head,
            method,
            micro_batches=self.micro_batches,
            average=self.average,
            drop_not_finite=self.on_nan == "skip",
        )
        rate = specs.build(
            SCHEDULES,
            self.schedule,
            learning_rate=self.learning_rate,
            steps=steps,
            steps_per_epoch=steps / self.epochs,
        )
        specs.require(keras.optimizers.schedules.LearningRateSchedule, rate, self.schedule)
        optimizer = specs.build(OPTIMIZERS, self.optimizer, learning_rate=rate)
        # As the papers do, over the backbone and what the method trains: the head's gradient is of
        # another size.
        optimizer.clip(self.clip_norm, [*backbone.trainable_variables, *method.trainable_variables])
        if self.start:
            slowed: list[keras.Variable] = []
            for layer in starts.taken_layers(backbone):
                slowed += layer.trainable_variables
            optimizer.slow_down(self.start_rate, slowed)
            self.check_something_is_trained(backbone, method)
        model.compile(optimizer)
        return model

    def check_something_is_trained(self, backbone: keras.Model, method: Method) -> None:
        """Raises where the encoder would come out as it went in."""
        learns = on_top.has_new_layer(backbone) or method.trainable_variables
        if self.frozen_epochs >= self.epochs and not learns:
            raise InputError(
                f"{option('frozen_epochs', self.frozen_epochs)} of {option('epochs', self.epochs)} "
                f"would leave {self.start} as it is, with no new layer on top; give fewer"
            )

    def check_data(self, records: int, classes: int, replicas: int, image_size: int) -> None:
        """Raises where no batches can be made of a data set."""
        self.steps_per_epoch(records, replicas)
        batches_of(self.batch).check(self.batch_size, classes)
        for spec, layer in self.named_augmentations():
            trial.check(layer, spec, image_size)

    def steps_per_epoch(self, records: int, replicas: int) -> int:
        """Returns how many whole batches there are; raises where a batch cannot be divided."""
        if self.batch_size % (replicas * self.micro_batches):
            raise InputError(
                f"{option('batch_size', self.batch_size)} cannot be divided over {replicas} "
                f"replicas and {self.micro_batches} micro-batches"
            )
        if records < self.batch_size:
            batch_size = option("batch_size", self.batch_size)
            raise InputError(
                f"{batch_size} is more than the {records} images of the data set",
                f"Give at most {option('batch_size', records)}",
            )
        return records // self.batch_size


@contextlib.contextmanager
def precision_policy(name: str) -> Iterator[None]:
    """Lets layers that are made within it compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
