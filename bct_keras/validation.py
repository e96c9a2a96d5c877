"""Whether an encoder is compatible while it is being trained, and which of its epochs was the best."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts, distribution, registry
from bct_keras.encoders import Encoder, KerasEncoder
from bct_keras.errors import InputError
from bct_keras.evaluation import PROTOCOLS, compatibility
from bct_keras.models import CompatibleModel
from bct_keras.recipe import Recipe
from bct_keras.untrusted.json_files import field, read_object

BEST = "best.keras"
BEST_HEAD = "best.npz"
BEST_FACTS = "best.json"


@dataclass(frozen=True)
class Best:
    epoch: int
    metric: str
    value: float


def read_best(path: Path) -> Best:
    found = read_object(path)
    return Best(field(found, "epoch", int, path), field(found, "metric", str, path), field(found, "value", float, path))


class Validation(keras.callbacks.Callback):
    """After every epoch each protocol's tests, as `val_` metrics; the encoder that was best by one of them is kept.

    `keep_best` names it as it is shown: `new/old TAR@FAR=1e-3`.
    """

    def __init__(self, protocols: list[str], old: Encoder | None, keep_best: str):
        super().__init__()
        self.specs = protocols
        self.protocols = [registry.build(PROTOCOLS, spec) for spec in protocols]
        self.old = old
        self.keep_best = keep_best
        self.best: Best | None = None

    def watching(self, model: CompatibleModel, recipe: Recipe, image_size: int, workdir: Path) -> "Validation":
        self.trained = model
        self.workdir = workdir
        if self.keep_best and (workdir / BEST_FACTS).is_file():
            self.best = read_best(workdir / BEST_FACTS)
        if not distribution.worker_index():
            encoder = recipe.build_encoder(model.backbone, image_size)
            self.encoder = KerasEncoder(Path("the encoder being trained"), encoder)
            self.known = [compatibility.known_of_old(protocol, self.old) for protocol in self.protocols]
            if self.old:
                self.check_metric()
        return self

    def check_metric(self) -> None:
        """At once, not after the first epoch."""
        metrics = [metric for known in self.known for metric in known.measured["old/old"].metrics]
        names = [f"{test} {metric}" for test in compatibility.TESTS for metric in metrics]
        if self.keep_best and self.keep_best not in names:
            raise InputError(f"--keep_best={self.keep_best} is not measured; known: {', '.join(names)}")

    def made_from(self) -> dict[str, Any]:
        """What decides which encoder a run leaves; nothing where it is that of the last epoch."""
        if not self.keep_best:
            return {}
        protocols = dict(zip(self.specs, (protocol.made_from() for protocol in self.protocols), strict=True))
        return {"keep_best": self.keep_best, "validation": protocols}

    def on_epoch_end(self, epoch, logs=None):
        if distribution.worker_index():
            return
        with self.trained.averaged():
            self.encoder.model.set_weights(self.trained.backbone.get_weights())
        found = self.measure()
        if logs is not None:
            logs.update({f"val {name}": value for name, value in found.items()})
        if self.keep_best:
            self.keep(epoch + 1, found)

    def measure(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for protocol, known in zip(self.protocols, self.known, strict=True):
            tests: dict[str, Any] = compatibility.self_and_cross_tests(protocol, self.old, self.encoder, known)
            for test in compatibility.TESTS:
                found |= {f"{test} {metric}": value for metric, value in tests.get(test, {}).items()}
        return found

    def keep(self, epoch: int, found: dict[str, float]) -> None:
        if self.keep_best not in found:
            raise InputError(f"--keep_best={self.keep_best} is not measured; known: {', '.join(found)}")
        value = found[self.keep_best]
        if self.best and value <= self.best.value:
            return
        artefacts.write_beside(self.workdir / BEST, self.encoder.model.save)
        artefacts.write_beside(self.workdir / BEST_HEAD, self.trained.head.save)
        self.best = Best(epoch, self.keep_best, value)
        artefacts.write_atomically(self.workdir / BEST_FACTS, json.dumps(asdict(self.best)) + "\n")
