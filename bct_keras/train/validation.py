"""Whether an encoder is compatible while it is trained, and which of its epochs was the best."""

import json
from collections.abc import Iterable, Mapping
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
    try:
        found = read_object(path)
        return Best(
            epoch=field(found, "epoch", int, path),
            metric=field(found, "metric", str, path),
            value=field(found, "value", float, path),
        )
    except InputError as error:
        raise InputError(
            f"{error}: what it said of the best epoch so far is lost.",
            f"Remove {path.parent} and train again; or remove {path.name} alone, and the best of "
            "the epochs still to come is kept",
        ) from None


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
        facts = workdir / BEST_FACTS
        if self.keep_best and facts.is_file():
            self.best = read_best(facts)
        if workers.worker_index():
            return self
        encoder = recipe.build_encoder(model, image_size)
        self.encoder = InMemoryEncoder(encoder, "the encoder being trained")
        self.encoder.cached = False
        self.known = {}
        for spec, protocol in self.protocols.items():
            self.known[spec] = compatibility.known_of_old(protocol, self.old)
        if self.old:
            self.check_metric()
        return self

    def check_metric(self) -> None:
        """Raises where `keep_best` is not measured: at once, not after the first epoch."""
        metrics: list[str] = []
        for known in self.known.values():
            metrics += known.measured["old/old"].metrics
        names = []
        for test in compatibility.TESTS:
            for metric in metrics:
                names.append(f"{test} {metric}")
        if self.keep_best and self.keep_best not in names:
            raise self.not_measured(names)

    def not_measured(self, names: Iterable[str]) -> InputError:
        """Returns the error of a metric that is not among those that are measured."""
        keep_best = option("keep_best", self.keep_best)
        return InputError(f"{keep_best} is not measured; known: {', '.join(names)}")

    def made_from(self) -> dict[str, Any]:
        """Returns what decides which epoch's encoder a run leaves.

        That is nothing where it is the last one's.
        """
        if not self.keep_best:
            return {}
        protocols = {spec: protocol.made_from() for spec, protocol in self.protocols.items()}
        return {"keep_best": self.keep_best, "validation": protocols}

    def on_epoch_end(self, epoch, logs=None):
        if workers.worker_index():
            return
        with self.trained.averaged():
            weights = self.trained.backbone.get_weights()
        weights += self.trained.method.shipped_weights()
        self.encoder.model.set_weights(weights)
        found = self.measure()
        if logs is not None:
            for name, value in found.items():
                logs[f"val {name}"] = value
        if self.keep_best:
            self.keep(epoch + 1, found)

    def measure(self) -> dict[str, float]:
        """Returns the metrics of all tests of all protocols."""
        found: dict[str, float] = {}
        for spec, protocol in self.protocols.items():
            known = self.known[spec]
            tests: dict[str, Any] = compatibility.self_and_cross_tests(
                protocol, self.old, self.encoder.view, known
            )
            for test in compatibility.TESTS:
                metrics = tests.get(test, {})
                for metric, value in metrics.items():
                    found[f"{test} {metric}"] = value
        return found

    def keep(self, epoch: int, found: dict[str, float]) -> None:
        """Keeps the encoder and its head, where they are better than those of all epochs before.

        The order makes it safe: 1 the encoder, 2 its head, 3 the file that says which epoch it is.
        """
        if self.keep_best not in found:
            raise self.not_measured(found)
        value = found[self.keep_best]
        if self.best and value <= self.best.value:
            return
        best = Best(epoch=epoch, metric=self.keep_best, value=value)
        artefacts.write_beside(self.workdir / BEST, self.encoder.model.save)
        artefacts.write_beside(self.workdir / BEST_HEAD, self.trained.head.save)
        facts = json.dumps(asdict(best))
        artefacts.write_atomically(self.workdir / BEST_FACTS, facts + "\n")
        self.best = best
