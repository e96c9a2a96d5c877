"""What one device holds while it trains: counted where it can be, estimated where not.

Weights, gradients and slots are those of the real network, head, method and optimizer, built for few classes: all of
them grow by the same bytes with every class, so two sizes tell any other. Activations are estimated as the outputs of
all layers, which the backward pass needs, and logits as three copies. Not in it: what a method computes within a step,
work space of kernels, and what a library takes for itself.

On a CPU a process grew in its first step by 1,969 MB where gradients, activations and logits were estimated at 2,207 MB
(iresnet18, 32 images of 112 pixels, 512 dimensions, 1,000 classes), and by 1,610 MB where at 1,855 MB (iresnet50, 16
images). On a GPU it has not been measured.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bct_keras import old_head
from bct_keras.methods.method import Method, Training
from bct_keras.methods.old_embeddings import OldEmbeddings
from bct_keras.methods.old_source import Classifier
from bct_keras.models import CompatibleModel
from bct_keras.recipe import Recipe

FEW_CLASSES = (16, 32)
USUAL_IMAGE_SIZE = 112  # where the data do not tell
IMAGES_OF_A_CLASS = 4
COPIES_OF_LOGITS = 3  # cosines, logits and their gradient
Sizes = dict[str, float]  # bytes by what they are for


class RandomOld(OldEmbeddings):
    """In the place of the old embeddings, and of a head that the user has not named."""

    def classifier(self, named: str = "") -> Classifier:
        return old_head.read_head(Path(named), self.dims) if named else super().classifier()


@dataclass(frozen=True)
class Estimate:
    """Of one device, in bytes; without data `classes` is 0, and what each class adds stands apart."""

    classes: int
    rows: int  # of a batch, on this device
    counted: Sizes
    each_class: Sizes
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return sum(self.counted.values()) + self.activations + self.logits


def estimated(recipe: Recipe, classes: int, image_size: int, replicas: int) -> Estimate:
    small, larger = (built(recipe, count, image_size) for count in FEW_CLASSES)
    first, second = counted(small, replicas), counted(larger, replicas)
    slopes = {name: (second[name] - first[name]) / (FEW_CLASSES[1] - FEW_CLASSES[0]) for name in first}
    sizes = {name: first[name] + slopes[name] * (classes - FEW_CLASSES[0]) for name in first}
    rows = recipe.batch_size // replicas // recipe.micro_batches
    of_logits = logits(small.head, classes or FEW_CLASSES[0], rows, replicas)
    slopes["logits"] = of_logits / (classes or FEW_CLASSES[0])
    return Estimate(classes, rows, sizes, slopes, activations(small.backbone, rows), of_logits if classes else 0.0)


def lines(estimate: Estimate) -> Iterator[str]:
    """One for each part that is there, and one for the sum."""

    def line(size: float, name: str, each_class: float = 0.0) -> str:
        more = f", and {each_class:,.0f} bytes a class" if each_class and not estimate.classes else ""
        return f"{max(size, 0) / 1e6:>10,.1f} MB  {name}{more}"

    for name, size in estimate.counted.items():
        if size or estimate.each_class[name]:
            yield line(size, f"{name}, counted", estimate.each_class[name])
    yield line(estimate.activations, f"activations of {estimate.rows:,} images, estimated")
    yield line(estimate.logits, "logits and their gradient, estimated", estimate.each_class["logits"])
    yield line(estimate.total, "in all, on each device", sum(estimate.each_class.values()))


def built(recipe: Recipe, classes: int, image_size: int) -> CompatibleModel:
    method = prepared_method(recipe, classes)
    return recipe.build_model(image_size, classes, recipe.epochs * 100, method)


def prepared_method(recipe: Recipe, classes: int) -> Method:
    """Returns the method with random old embeddings of a few images, and an old head: it is as large with any."""
    method = recipe.build_method()
    labels = np.repeat(np.arange(classes), IMAGES_OF_A_CLASS)
    embeddings = np.random.default_rng(0).normal(size=(len(labels), recipe.old_dims))
    old = RandomOld(embeddings, labels, classifier=np.ones((classes, recipe.old_dims)))
    method.prepare(old, Training(classes, recipe.old_dims, recipe.epochs, recipe.epochs * 100))
    return method


def counted(model: CompatibleModel, replicas: int) -> Sizes:
    table = model.head.table
    tables = {} if table is None else {name: bytes_of(copies[:1]) for name, copies in table.variables.items()}
    # A device holds its share of a table that is divided.
    share = math.ceil(model.head.classes / replicas) / model.head.classes if table and table.divided else 1.0
    class_weights = share * tables.pop("class_weights", 0)
    return {
        "weights of the backbone": bytes_of(model.backbone.variables),
        "weights of the head": bytes_of(model.head.variables) + class_weights,
        "state of the method": bytes_of(model.method.variables),
        "average of the weights": bytes_of(model.averaging.averages),
        "gradients": bytes_of(model.trainable_variables) + class_weights * getattr(model.head, "sample_rate", 1.0),
        "slots of the optimizer": bytes_of(model.optimizer.variables) + share * sum(tables.values()),
    }


def bytes_of(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) * item_bytes(variable.dtype) for variable in variables)


def activations(backbone: keras.Model, rows: int) -> int:
    """Of the outputs of all layers, in the precision in which each computes."""
    return sum(rows * math.prod(tensor.shape[1:]) * item_bytes(tensor.dtype) for tensor in outputs_of(backbone))


def item_bytes(dtype: Any) -> int:
    name = keras.backend.standardize_dtype(getattr(dtype, "name", dtype))
    return {"float16": 2, "bfloat16": 2, "uint8": 1, "bool": 1, "int64": 8}.get(name, 4)


def outputs_of(model: keras.Model) -> Iterator[Any]:
    for operation in model.operations:  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(operation, keras.Model):
            yield from outputs_of(operation)
        elif not isinstance(operation, keras.layers.InputLayer):
            yield from keras.tree.flatten(operation.output)


def logits(head: Any, classes: int, rows: int, replicas: int) -> float:
    """[rows, classes] in float32; of a divided head each device sees all rows and its classes."""
    sharded = getattr(head, "sharded", False)
    columns = math.ceil(getattr(head, "sample_rate", 1.0) * classes / (replicas if sharded else 1)) * head.centres
    return COPIES_OF_LOGITS * 4.0 * rows * (replicas if sharded else 1) * columns
