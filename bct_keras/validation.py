"""Whether an encoder is compatible while it is being trained, and which of its epochs was the best."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts, distribution, registry
from bct_keras.encoders import Encoder, KerasEncoder
from bct_keras.errors import InputError
from bct_keras.evaluation import PROTOCOLS, compatibility
from bct_keras.model import CompatibleModel
from bct_keras.recipe import Recipe

BEST = "best.keras"
BEST_FACTS = "best.json"


@dataclass(frozen=True)
class Best:
    path: Path
    epoch: int
    metric: str
    value: float


class Validation(keras.callbacks.Callback):
    """After every epoch each protocol's tests, as `val_` metrics; the encoder that was best by one of them is kept.

    `keep_best` names it as it is shown: `new/old TAR@FAR=1e-3`.
    """

    def __init__(self, protocols: list[str], old: Encoder | None, keep_best: str):
        super().__init__()
        self.protocols = [registry.build(PROTOCOLS, spec) for spec in protocols]
        self.old = old
        self.keep_best = keep_best
        self.best: Best | None = None

    def watching(self, model: CompatibleModel, recipe: Recipe, image_size: int, workdir: Path) -> "Validation":
        self.trained = model
        self.workdir = workdir
        self.recipe = recipe
        self.image_size = image_size
        if (workdir / BEST_FACTS).is_file():
            self.best = Best(workdir / BEST, **json.loads((workdir / BEST_FACTS).read_text()))
        return self

    def on_epoch_end(self, epoch, logs=None):
        if distribution.worker_index():
            return
        with self.trained.averaged():
            encoder = self.recipe.build_encoder(self.trained.backbone, self.image_size)
        found = self.measure(encoder)
        if logs is not None:
            logs.update({f"val {name}": value for name, value in found.items()})
        if self.keep_best:
            self.keep(encoder, epoch + 1, found)

    def measure(self, encoder: keras.Model) -> dict[str, float]:
        new = KerasEncoder(Path("the encoder being trained"), encoder)
        found: dict[str, float] = {}
        for protocol in self.protocols:
            tests: dict[str, Any] = compatibility.tests(protocol, self.old, new)
            for test in compatibility.TESTS:
                found |= {f"{test} {metric}": value for metric, value in tests.get(test, {}).items()}
        return found

    def keep(self, encoder: keras.Model, epoch: int, found: dict[str, float]) -> None:
        if self.keep_best not in found:
            raise InputError(f"--keep_best={self.keep_best} is not measured; known: {', '.join(found)}")
        value = found[self.keep_best]
        if self.best and value <= self.best.value:
            return
        path = self.workdir / BEST
        partial = path.with_name(f".partial.{BEST}")
        encoder.save(partial)
        partial.replace(path)
        self.best = Best(path, epoch, self.keep_best, value)
        facts = {"epoch": epoch, "metric": self.keep_best, "value": value}
        artefacts.write_atomically(self.workdir / BEST_FACTS, json.dumps(facts) + "\n")
