"""Whether exported files are as good as the encoder that they came from, each measured in its own run time."""

from typing import Any

from bct_keras.encoders import Encoder, FirstDims
from bct_keras.errors import InputError
from bct_keras.evaluation.gains import is_compatible
from bct_keras.evaluation.measured import as_measured

ENCODER, OLD = "encoder", "old"


class Gate:
    """Embeds each of the protocols' images once per file; queries of any are searched in the gallery of any."""

    def __init__(self, protocols: dict[str, Any], old: Encoder | None, encoder: Encoder, max_loss: float):
        if old and old.dims != encoder.compatible_dims:
            raise InputError(
                f"{encoder.path} has {encoder.compatible_dims} compatible dimensions and {old.path} {old.dims}: its "
                "queries cannot be searched there"
            )
        self.protocols, self.max_loss = protocols, max_loss
        self.gallery = OLD if old else None  # whose gallery the verdict is about; without an old one a file's own
        self.embedded: dict[str, dict[str, Any]] = {spec: {} for spec in protocols}
        self.measured: dict[tuple[str, str, str], dict[str, float]] = {}
        if old:
            self.add(OLD, old)
        self.add(ENCODER, encoder)

    def add(self, name: str, encoder: Encoder) -> None:
        """Again with another file of that name it replaces the first."""
        if encoder.compatible_dims < encoder.dims:
            encoder = FirstDims(encoder, encoder.compatible_dims)
        for spec, protocol in self.protocols.items():
            self.embedded[spec][name] = protocol.embed(encoder)
        self.measured = {key: metrics for key, metrics in self.measured.items() if name not in key[1:]}

    def metrics(self, spec: str, query: str, gallery: str) -> dict[str, float]:
        if (spec, query, gallery) not in self.measured:
            embedded = self.embedded[spec]
            found = self.protocols[spec].measure(embedded[query][0], embedded[gallery][1])
            self.measured[spec, query, gallery] = as_measured(found).metrics
        return self.measured[spec, query, gallery]

    def incompatible(self, name: str = ENCODER) -> list[str]:
        """The metrics in which queries of this one find less in the old gallery than the old encoder's own."""
        if self.gallery is None:
            return []
        found = []
        for spec in self.protocols:
            ours, olds = self.metrics(spec, name, OLD), self.metrics(spec, OLD, OLD)
            found += [
                f"{metric} {ours[metric]:.4f} in the old gallery, and {olds[metric]:.4f} by the old encoder"
                for metric in ours
                if not is_compatible(ours[metric], olds[metric])
            ]
        return found

    def losses(self, name: str) -> dict[str, float]:
        """What share of the encoder's own figure this file loses, for each metric; a gain is negative."""
        found = {}
        for spec in self.protocols:
            ours = self.metrics(spec, name, self.gallery or name)
            encoders = self.metrics(spec, ENCODER, self.gallery or ENCODER)
            for metric, exact in encoders.items():
                lost = exact - ours[metric]
                found[f"{metric} of {spec}"] = lost / exact if exact > 0 else 0.0 if lost <= 0 else float("inf")
        return found

    def faults(self, name: str) -> list[str]:
        """Why this file is refused: it loses too much, or is not compatible where the encoder is."""
        too_much = [f"{metric} loses {loss:.2%}" for metric, loss in self.losses(name).items() if loss > self.max_loss]
        return too_much + ([] if self.incompatible(ENCODER) else self.incompatible(name))

    def results(self) -> dict[str, dict[str, dict[str, float]]]:
        """{protocol: {"query/gallery": metrics}} of all pairs; the old encoder's queries in its own gallery only."""
        return {
            spec: {
                f"{query}/{gallery}": self.metrics(spec, query, gallery)
                for query in names
                for gallery in names
                if query != OLD or gallery == OLD
            }
            for spec, names in self.embedded.items()
        }
