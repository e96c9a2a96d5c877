"""The network that a training starts from, in place of random weights: `--start`.

It is a run's folder, a `.keras` file of any functional model, or `keras(FILE, ...)` where the file
does not say which pixels it takes or which of its layers gives the embedding. A `.weights.h5` file
has the weights of the network that `--backbone` names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from bct_keras import _keras, artefacts, specs, stores
from bct_keras.data.preprocessing import OWN, Preprocessing, chosen
from bct_keras.encoders import ENCODER_FILE, RUN_KIND
from bct_keras.encoders.encoder import first_sentence
from bct_keras.encoders.keras_file import prepared, read_model, scales_itself
from bct_keras.encoders.load import ADAPTER_KIND, encoder_of_run
from bct_keras.errors import InputError, option
from bct_keras.methods.outputs import COMPATIBLE, EMBEDDING
from bct_keras.train.fits import (
    check_functional,
    check_image,
    check_rank,
    fault_of_making_again,
)
from bct_keras.train.on_top import ON_TOP, number_on_top, with_embedding
from bct_keras.train.top import without_top
from bct_keras.untrusted import keras_files, reading

KERAS, WEIGHTS = ".keras", ".weights.h5"
TAKEN = "start"  # the name of the layer that a network becomes where it cannot stay open
OUTPUTS = (EMBEDDING, COMPATIBLE)
# What keras.applications brings its pixels to, by how the names of its networks begin. Those that
# are not here scale their pixels themselves.
FROM_MINUS_1_TO_1 = "mean=127.5, std=127.5"
OF_CAFFE = "mean=(103.939, 116.779, 123.68), order=bgr"
PIXELS_OF = {
    "mobilenet_": FROM_MINUS_1_TO_1,
    "mobilenetv2": FROM_MINUS_1_TO_1,
    "inception": FROM_MINUS_1_TO_1,
    "xception": FROM_MINUS_1_TO_1,
    "nasnet": FROM_MINUS_1_TO_1,
    "resnet50v2": FROM_MINUS_1_TO_1,
    "resnet101v2": FROM_MINUS_1_TO_1,
    "resnet152v2": FROM_MINUS_1_TO_1,
    "resnet": OF_CAFFE,
    "vgg": OF_CAFFE,
    "densenet": "mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)",
}


@dataclass(frozen=True)
class KerasStart:
    """A file to start from, as `keras(new.keras, layer=avg_pool, mean=127.5, std=127.5)` gives it.

    `layer` is the one whose output is taken as the embedding; the others bring the pixels to what
    the file takes, as in the spec of an old encoder.
    """

    path: str
    layer: str = ""
    mean: Any = None
    std: Any = None
    order: str | None = None


STARTS: dict[str, type[KerasStart]] = {"keras": KerasStart}


@dataclass(frozen=True)
class Started:
    """A network that is ready to be trained, and what was done for it, in words."""

    backbone: keras.Model
    said: str


@dataclass(frozen=True)
class Start:
    """What `--start` names, found on this machine."""

    named: str
    path: Path
    layer: str = ""
    given: tuple[tuple[str, Any], ...] = ()  # the preprocessing, by name
    is_run: bool = False
    output: str = EMBEDDING  # of a file that has two

    @property
    def is_weights(self) -> bool:
        """Tells whether the file holds weights alone."""
        return self.path.name.endswith(WEIGHTS)

    def made_from(self) -> dict[str, Any]:
        """Returns what decides which network it is, for a run's manifest."""
        return {
            "start_sha256": artefacts.file_sha256(self.path),
            "start_layer": self.layer,
            "start_pixels": {name: repr(value) for name, value in self.given},
        }

    def build(self, image_size: int, dims: int, fresh: Callable[[], keras.Model]) -> Started:
        """Returns the network that is trained on.

        Args:
            image_size: The side of the images to train on.
            dims: Of the new embedding.
            fresh: Makes the network that `--backbone` names, for a file of weights.
        """
        if self.is_weights:
            return self.with_weights(fresh())
        model = read_model(self.path)
        name = getattr(model, "name", "")
        embedding, how = self.embedding_of(model)
        check_image(self.path, model.input_shape, image_size)
        preprocessing = self.preprocessing_of(model)
        network = self.taken(model, embedding)
        for layer in _keras.layers_within(network):
            layer.trainable = True  # whatever was frozen when it was saved
        image, features = self.opened(network, image_size, preprocessing)
        embedding, on_top = with_embedding(features, dims, number_on_top(network))
        said = [f"{self.named}: {how}"]
        if on_top:
            said.append(f"a new embedding layer of {dims} on top")
        said.append(preprocessing.described())
        backbone = keras.Model(image, embedding, name=name or TAKEN)
        return Started(backbone, ", ".join(said))

    def image_size(self) -> int:
        """Returns the side of the images that the network takes; 0 where it takes any, or weights.

        It is to be known before there are images.
        """
        if self.is_weights:
            return 0
        shape = getattr(read_model(self.path), "input_shape", None)
        sides = shape[1:3] if isinstance(shape, tuple) and len(shape) == 4 else (None,)
        return sides[0] or 0

    def with_weights(self, backbone: keras.Model) -> Started:
        """Returns the network that `--backbone` names with the file's weights."""
        try:
            keras_files.check_weights(self.path)
            backbone.load_weights(self.path)
        except Exception as error:  # whatever a damaged file, or another network's, does to Keras
            raise InputError(
                f"{self.path} does not hold the weights of {option('backbone')}: "
                f"{first_sentence(error)}",
                "Name the network and the dimensions that the weights are of, or save the whole "
                "network as a .keras file and start from that",
            ) from None
        return Started(backbone, f"{self.named}: all weights of {backbone.name}")

    def taken(self, model: Any, embedding: Any) -> keras.Model:
        """Returns the network up to the embedding; raises where it could not be saved again.

        A class of keras-hub can be made again where some of its layers alone cannot. So it stays
        whole there, which is a layer of the encoder.
        """
        network = keras.Model(model.inputs[0], embedding, name=TAKEN)
        fault = fault_of_making_again(network)
        if not fault:
            return network
        if embedding is model.outputs[0] and not fault_of_making_again(model):
            return model
        raise InputError(
            f"{self.path} cannot be saved again after the training: {fault}",
            "Start from the whole network, without a layer that is named: "
            "keras.Model(image, network(image)).save('new.keras')",
        )

    def embedding_of(self, model: Any) -> tuple[Any, str]:
        """Returns the symbolic output that is taken as the embedding, and which it is in words."""
        try:
            check_functional(self.path, model)
            output, how = self.output_of(model)
            check_rank(output)
            return output, how
        except ValueError as error:
            names = ", ".join(layer.name for layer in model.layers[-6:])
            raise InputError(
                f"{self.path}: no embedding can be taken from it: {first_sentence(error)}",
                "Name the layer that gives it, as in "
                f"{option('start')}='keras({self.path}, layer=NAME)'; the last ones are {names}",
            ) from None

    def output_of(self, model: Any) -> tuple[Any, str]:
        """Returns what a layer gives, the one that is named or the last one, and which it is."""
        if self.layer:
            return model.get_layer(self.layer).output, f"layer {self.layer} is the embedding"
        if len(model.outputs) > 1 and self.output in model.output_names:
            return model.get_layer(self.output).output, f"its output {self.output}"
        return without_top(model)

    def preprocessing_of(self, model: Any) -> Preprocessing:
        """Returns what is done to pixels of 0 to 255; raises where nothing tells."""
        stated = OWN if self.is_run or scales_itself(model) else Preprocessing()
        found = chosen(dict(self.given), stated, self.named)
        if found.source:
            return found
        path = specs.quoted(str(self.path))
        pixels = "mean=127.5, std=127.5"
        known = ""
        for begins, of_family in PIXELS_OF.items():
            if model.name.lower().startswith(begins):
                known = f"; keras.applications brings those of {model.name} to {of_family}"
                pixels = of_family
                break
        raise InputError(
            f"{self.path} does not say which pixels it takes, and here they are 0 to 255{known}.",
            f"Say it, as in {option('start')}='keras({path}, {pixels})'; mean=0, std=1 leaves "
            "them as they are",
        )

    def opened(
        self, network: keras.Model, image_size: int, preprocessing: Preprocessing
    ) -> tuple[Any, Any]:
        """Returns the symbolic image and the features that the network makes of it.

        The layers of the network stay those of the whole model where they can, so that heat maps
        see them. It becomes a single layer where something stands in front of it, where it takes
        images of any size or batches of one size, where its layers have names that are needed, and
        where it has to stay whole.
        """
        is_whole = not type(network).__module__.startswith("keras.")
        needs_name = any(is_needed(layer.name) for layer in network.layers)
        is_fixed = tuple(network.inputs[0].shape) == (None, image_size, image_size, 3)
        if preprocessing.is_plain and is_fixed and not needs_name and not is_whole:
            return network.inputs[0], network.outputs[0]
        image = keras.Input((image_size, image_size, 3), name="image")
        try:
            return image, network(prepared(image, preprocessing))
        except ValueError as error:
            raise InputError(
                f"{self.path} cannot take images of {image_size} pixels: {first_sentence(error)}"
            ) from None


def found(named: str) -> Start:
    """Returns what `--start` names; raises where it is not there, or is nothing to start from."""
    path = stores.local(named)
    if path.exists():
        return of_path(named, path)
    kind, bracket, _ = named.partition("(")
    if not bracket or kind.strip() not in STARTS:
        raise InputError(f"{option('start', named)}: no such file or folder")
    spec: KerasStart = specs.build(STARTS, named)
    inner = of_path(named, stores.local(spec.path))
    if inner.is_weights:
        raise InputError(
            f"{option('start', named)}: a file of weights alone has no layers to choose from; give "
            f"{option('start', spec.path)}"
        )
    pixels = (("mean", spec.mean), ("std", spec.std), ("order", spec.order))
    given = tuple((name, value) for name, value in pixels if value is not None)
    chosen(dict(given), OWN, named)  # what is wrong with it is told at once
    return Start(named, inner.path, spec.layer, given, inner.is_run)


def of_path(named: str, path: Path) -> Start:
    """Returns what lies at a path."""
    if path.is_dir():
        kind = artefacts.kind_of(path)
        if kind == RUN_KIND:
            return Start(named, encoder_of_run(path), is_run=True)
        if kind == ADAPTER_KIND and (path / ENCODER_FILE).is_file():
            return Start(named, path / ENCODER_FILE, is_run=True, output=COMPATIBLE)
        raise InputError(
            f"{option('start', named)} is no finished run: give a run's folder, a folder of adapt "
            f"with an encoder in it, a {KERAS} file or a {WEIGHTS} file"
        )
    with reading.opened(path):  # raises where it is missing, or a pipe
        pass
    if not path.name.endswith((KERAS, WEIGHTS)):
        raise InputError(
            f"{option('start', named)} is nothing to train on: give a run's folder, a {KERAS} file "
            f"or a {WEIGHTS} file. A network in another format of Keras is saved anew by "
            "model.save('new.keras')"
        )
    return Start(named, path)


def taken_layers(backbone: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a started network that were taken from the file."""
    layers = [layer for layer in backbone.layers if layer.name == TAKEN]
    return layers or [layer for layer in backbone.layers if not layer.name.startswith(ON_TOP)]


def is_needed(name: str) -> bool:
    """Tells whether the whole network gives this name to a layer of its own."""
    return name in (TAKEN, *OUTPUTS) or name.startswith(ON_TOP)
