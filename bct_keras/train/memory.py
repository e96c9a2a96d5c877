"""What one device holds while it trains: counted where it can be, estimated where not.

Weights, gradients and slots are those of the real network, head, method and optimizer, built for
few classes: all of them grow by the same bytes with every class, so two sizes tell any other.
Activations are estimated as the outputs of all layers, which the backward pass needs, and logits as
three copies. Not in it: what a method computes within a step, work space of kernels, and what a
library takes for itself.

On a CPU a process grew in its first step by 1,969 MB where gradients, activations and logits were
estimated at 2,207 MB (iresnet18, 32 images of 112 pixels, 512 dimensions, 1,000 classes), and by
1,610 MB where at 1,855 MB (iresnet50, 16 images). On a GPU it has not been measured.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bct_keras import _keras
from bct_keras.methods.method import Method, Training
from bct_keras.methods.old_embeddings import OldEmbeddings
from bct_keras.methods.old_source import Classifier
from bct_keras.models import CompatibleModel
from bct_keras.train import old_head
from bct_keras.train.recipe import Recipe

FEW_CLASSES = (16, 32)
USUAL_IMAGE_SIZE = 112  # where the data do not tell
IMAGES_OF_A_CLASS = 4
COPIES_OF_LOGITS = 3  # cosines, logits and their gradient
BYTES = {"float16": 2, "bfloat16": 2, "uint8": 1, "bool": 1, "int64": 8}  # of one number; others 4
Sizes = dict[str, float]  # bytes by what they are for


class RandomOld(OldEmbeddings):
    """Stands in the place of the old embeddings, and of a head that the user has not named."""

    def classifier(self, named: str = "") -> Classifier:
        """Returns the head that the user has named, or else one of any numbers."""
        if named:
            return old_head.read_head(Path(named), self.dims)
        return super().classifier()


@dataclass(frozen=True)
class Estimate:
    """What one device holds, in bytes.

    Without data `classes` is 0, and what each class adds stands apart.
    """

    classes: int
    rows: int  # of a batch, on this device
    counted: Sizes
    each_class: Sizes
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """The sum of all parts."""
        of_counted = sum(self.counted.values())
        return of_counted + self.activations + self.logits


def estimated(recipe: Recipe, classes: int, image_size: int, replicas: int) -> Estimate:
    """Estimates by two small models what one with so many classes would take."""
    few, more = FEW_CLASSES
    small = built(recipe, few, image_size)
    larger = built(recipe, more, image_size)
    of_few = counted(small, replicas)
    of_more = counted(larger, replicas)
    each_class: Sizes = {}
    sizes: Sizes = {}
    for name, size in of_few.items():
        each_class[name] = (of_more[name] - size) / (more - few)
        sizes[name] = size + each_class[name] * (classes - few)
    rows = recipe.batch_size // replicas // recipe.micro_batches
    logit_classes = classes or few
    of_logits = logits(small.head, logit_classes, rows, replicas)
    each_class["logits"] = of_logits / logit_classes
    return Estimate(
        classes=classes,
        rows=rows,
        counted=sizes,
        each_class=each_class,
        activations=activations(small.backbone, rows),
        logits=of_logits if classes else 0.0,
    )


def lines(estimate: Estimate) -> Iterator[str]:
    """Yields a line for each part that is there, and one for the sum."""
    each_class = estimate.each_class

    def line(size: float, name: str, more: float = 0.0) -> str:
        megabytes = max(size, 0) / 1e6
        text = f"{megabytes:>10,.1f} MB  {name}"
        if more and not estimate.classes:
            text += f", and {more:,.0f} bytes a class"
        return text

    for name, size in estimate.counted.items():
        if size or each_class[name]:
            yield line(size, f"{name}, counted", each_class[name])
    yield line(estimate.activations, f"activations of {estimate.rows:,} images, estimated")
    yield line(estimate.logits, "logits and their gradient, estimated", each_class["logits"])
    yield line(estimate.total, "in all, on each device", sum(each_class.values()))


def built(recipe: Recipe, classes: int, image_size: int) -> CompatibleModel:
    """Builds the model that a run would train, for so many classes."""
    method = prepared_method(recipe, classes)
    return recipe.build_model(image_size, classes, recipe.epochs * 100, method)


def prepared_method(recipe: Recipe, classes: int) -> Method:
    """Returns the method with random old embeddings of a few images, and an old head.

    It is as large with any embeddings.
    """
    method = recipe.build_method()
    dims = recipe.old_dims
    labels = np.repeat(np.arange(classes), IMAGES_OF_A_CLASS)
    embeddings = np.random.default_rng(0).normal(size=(len(labels), dims))
    old = RandomOld(embeddings, labels, classifier=np.ones((classes, dims)))
    training = Training(classes, dims, recipe.epochs, recipe.epochs * 100)
    method.prepare(old, training)
    return method


def counted(model: CompatibleModel, replicas: int) -> Sizes:
    """Returns the bytes of all variables of a model and of the gradients."""
    head = model.head
    table = head.table
    tables: dict[str, int] = {}
    share = 1.0
    if table is not None:
        for name, copies in table.variables.items():
            tables[name] = bytes_of(copies[:1])
        if table.divided:  # a device holds its share
            share = math.ceil(head.classes / replicas) / head.classes
    class_weights = share * tables.pop("class_weights", 0)
    sampled = class_weights * getattr(head, "sample_rate", 1.0)
    slots = share * sum(tables.values())
    return {
        "weights of the backbone": bytes_of(model.backbone.variables),
        "weights of the head": bytes_of(head.variables) + class_weights,
        "state of the method": bytes_of(model.method.variables),
        "average of the weights": bytes_of(model.averaging.averages),
        "gradients": bytes_of(model.trainable_variables) + sampled,
        "slots of the optimizer": bytes_of(model.optimizer.variables) + slots,
    }


def bytes_of(variables: Iterable[Any]) -> int:
    """Returns the bytes of all variables together."""
    total = 0
    for variable in variables:
        total += math.prod(variable.shape) * item_bytes(variable.dtype)
    return total


def activations(backbone: keras.Model, rows: int) -> int:
    """Returns the bytes of the outputs of all layers, in the precision in which each computes."""
    images = [keras.KerasTensor((rows, *each.shape[1:]), each.dtype) for each in backbone.inputs]
    total = 0
    for tensor in _keras.shapes_within(backbone, images):
        total += math.prod(tensor.shape) * item_bytes(tensor.dtype)
    return total


def item_bytes(dtype: Any) -> int:
    """Returns the bytes of one number."""
    name = keras.backend.standardize_dtype(getattr(dtype, "name", dtype))
    return BYTES.get(name, 4)


def logits(head: Any, classes: int, rows: int, replicas: int) -> float:
    """Returns the bytes of [rows, classes] in float32.

    Of a divided head each device sees all rows and its own classes.
    """
    devices = replicas if getattr(head, "sharded", False) else 1
    sampled = getattr(head, "sample_rate", 1.0) * classes
    columns = math.ceil(sampled / devices) * head.centres
    return COPIES_OF_LOGITS * 4.0 * rows * devices * columns
