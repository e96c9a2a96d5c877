"""Whether an encoder is compatible while it is being trained, and which of its epochs was the best."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts
from bct_keras.distribution import workers
from bct_keras.encoders import Encoder, InMemoryEncoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate import compatibility
from bct_keras.evaluate.protocol import Protocol
from bct_keras.models import CompatibleModel
from bct_keras.train.recipe import Recipe
from bct_keras.untrusted.json_files import field, read_object

BEST = "best.keras"
BEST_HEAD = "best.npz"
BEST_FACTS = "best.json"


@dataclass(frozen=True)
class Best:
    """The epoch that was the best so far."""

    epoch: int
    metric: str
    value: float


def read_best(path: Path) -> Best:
    """Reads what a run that was broken off has kept of its best epoch."""
    found = read_object(path)
    return Best(
        field(found, "epoch", int, path),
        field(found, "metric", str, path),
        field(found, "value", float, path),
    )


class Validation(keras.callbacks.Callback):
    """Measures the encoder after every epoch, and keeps the one that was best by one metric.

    Each protocol's tests become `val ` metrics. `keep_best` names the metric as it is shown:
    `new/old TAR@FAR=1e-3`; without it nothing is kept.
    """

    def __init__(self, protocols: Mapping[str, Protocol], old: Encoder | None, keep_best: str):
        super().__init__()
        self.protocols = protocols
        self.old = old
        self.keep_best = keep_best
        self.best: Best | None = None

    def watching(
        self, model: CompatibleModel, recipe: Recipe, image_size: int, workdir: Path
    ) -> "Validation":
        """Gets ready to watch this model, and measures the old encoder, which stays the same."""
        self.trained = model
        self.workdir = workdir
        if self.keep_best and (workdir / BEST_FACTS).is_file():
            self.best = read_best(workdir / BEST_FACTS)
        if not workers.worker_index():
            encoder = recipe.build_encoder(model.backbone, image_size)
            self.encoder = InMemoryEncoder(encoder, "the encoder being trained")
            self.encoder.cached = False
            self.known = {
                spec: compatibility.known_of_old(protocol, self.old)
                for spec, protocol in self.protocols.items()
            }
            if self.old:
                self.check_metric()
        return self

    def check_metric(self) -> None:
        """Raises where `keep_best` is not measured: at once, not after the first epoch."""
        metrics: list[str] = []
        for known in self.known.values():
            metrics += known.measured["old/old"].metrics
        names = [f"{test} {metric}" for test in compatibility.TESTS for metric in metrics]
        if self.keep_best and self.keep_best not in names:
            raise InputError(
                f"{option('keep_best', self.keep_best)} is not measured; known: {', '.join(names)}"
            )

    def made_from(self) -> dict[str, Any]:
        """Returns what decides which epoch's encoder a run leaves; nothing where it is the last
        one's.
        """
        if not self.keep_best:
            return {}
        protocols = {spec: protocol.made_from() for spec, protocol in self.protocols.items()}
        return {"keep_best": self.keep_best, "validation": protocols}

    def on_epoch_end(self, epoch, logs=None):
        if workers.worker_index():
            return
        with self.trained.averaged():
            self.encoder.model.set_weights(self.trained.backbone.get_weights())
        found = self.measure()
        if logs is not None:
            logs.update({f"val {name}": value for name, value in found.items()})
        if self.keep_best:
            self.keep(epoch + 1, found)

    def measure(self) -> dict[str, float]:
        """Returns the metrics of all tests of all protocols."""
        found: dict[str, float] = {}
        for spec, protocol in self.protocols.items():
            tests: dict[str, Any] = compatibility.self_and_cross_tests(
                protocol, self.old, self.encoder, self.known[spec]
            )
            for test in compatibility.TESTS:
                for metric, value in tests.get(test, {}).items():
                    found[f"{test} {metric}"] = value
        return found

    def keep(self, epoch: int, found: dict[str, float]) -> None:
        """Keeps the encoder and its head, where they are better than those of all epochs before."""
        if self.keep_best not in found:
            raise InputError(
                f"{option('keep_best', self.keep_best)} is not measured; known: {', '.join(found)}"
            )
        value = found[self.keep_best]
        if self.best and value <= self.best.value:
            return
        artefacts.write_beside(self.workdir / BEST, self.encoder.model.save)
        artefacts.write_beside(self.workdir / BEST_HEAD, self.trained.head.save)
        self.best = Best(epoch, self.keep_best, value)
        artefacts.write_atomically(self.workdir / BEST_FACTS, json.dumps(asdict(self.best)) + "\n")
