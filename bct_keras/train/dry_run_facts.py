"""What a dry run finds of each thing that a training needs, in words and in numbers."""

from dataclasses import dataclass
from pathlib import Path

from bct_keras import specs
from bct_keras.data.dataset import open_to_train_on
from bct_keras.errors import InputError
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.train import memory, resized
from bct_keras.train import start as starts
from bct_keras.train.recipe import Recipe

NO_OLD = "needs no old encoder"


@dataclass(frozen=True)
class Facts:
    """What is known of the data to train on; 0 is not known."""

    said: str
    records: int = 0
    classes: int = 0
    image_size: int = 0


@dataclass(frozen=True)
class Devices:
    """What this machine has to train on."""

    said: str
    replicas: int  # on this machine


@dataclass(frozen=True)
class Steps:
    """How many steps there would be; 0 is not known."""

    said: str
    steps_an_epoch: int = 0
    steps: int = 0


def reason_of(error: InputError | OSError) -> str:
    """Returns what went wrong, in one line."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return " ".join(error.args)


def said_of(recipe: Recipe) -> str:
    """Returns the recipe in a line; raises where an augmentation cannot be made."""
    recipe.build_augmentations()
    parts = [
        recipe.start or recipe.backbone,
        f"{recipe.dims} dimensions",
        recipe.head,
        recipe.method,
        recipe.optimizer,
        f"{recipe.schedule} from {recipe.learning_rate:g}",
        recipe.precision,
    ]
    return ", ".join(parts)


def said_of_method(recipe: Recipe) -> str:
    """Tells whether the method needs an old encoder, in words."""
    method = recipe.build_method()
    return "needs old embeddings" if method.needs_old else NO_OLD


def start_facts(recipe: Recipe, data: Facts, place: Path | None) -> str:
    """Returns what the network is made of; raises where it does not go with the data.

    Args:
        recipe: The recipe, which has a start.
        data: What is known of the data.
        place: Where they lie; None where they are not made yet.
    """
    start = starts.found(recipe.start)
    own = start.image_size()
    with resized.telling(place):
        said = recipe.started(data.image_size or own or memory.USUAL_IMAGE_SIZE).said
    if not start.is_weights:
        said += f", of images of {own} x {own}" if own else ", of images of any size"
    if recipe.frozen_epochs:
        said += f", {recipe.frozen_epochs} epoch(s) as it is"
    return f"{said}, then at {recipe.start_rate:g} of the learning rate"


def facts_of_made(place: Path) -> Facts:
    """Returns what the data set is, all of which is read."""
    data = open_to_train_on(place)
    data.check_content()
    what = images(data.records, data.classes, data.image_size)
    return Facts(
        said=f"{place} is whole: {what}",
        records=data.records,
        classes=data.classes,
        image_size=data.image_size,
    )


def images(records: int, classes: int, size: int) -> str:
    """Returns how many images there are, and of what size, in words."""
    return f"{records:,} images of {classes:,} identities, {size} x {size}"


def protocol_facts(spec: str) -> str:
    """Builds the protocol, which raises where a file of it is missing."""
    specs.build(PROTOCOLS, spec, cache=None, on_bad="fail")
    return f"{spec}: its files are there"


def step_facts(recipe: Recipe, data: Facts, replicas: int) -> Steps:
    """Returns how many steps there would be, and how many images a device takes in each."""
    share = recipe.batch_size // replicas // recipe.micro_batches
    per_device = f"{share:,} images a device"
    if recipe.micro_batches > 1:
        per_device += " and micro-batch"
    if not data.records:
        recipe.steps_per_epoch(recipe.batch_size, replicas)  # what is wrong whatever the data
        unknown = "how many is not known without the data"
        return Steps(f"of {recipe.batch_size:,} images, {per_device}; {unknown}")
    recipe.check_data(data.records, data.classes, replicas, data.image_size)
    an_epoch = recipe.steps_per_epoch(data.records, replicas)
    steps = an_epoch * recipe.epochs
    total = f"{an_epoch:,} an epoch, {steps:,} in all {recipe.epochs}"
    said = f"{total}, each of {recipe.batch_size:,} images, {per_device}"
    return Steps(said, an_epoch, steps)
