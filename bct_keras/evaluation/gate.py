"""Whether exported files are as good as the encoder that they came from, each measured in its own run time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.encoders import Encoder, FirstDims
from bct_keras.errors import InputError
from bct_keras.evaluation.gains import is_compatible
from bct_keras.evaluation.measured import Measured, as_measured

ENCODER, OLD = "encoder", "old"
DRAWS = 500
SEED = 0
INTERVAL = (2.5, 97.5)  # per cent: 95 % of the draws lie between
# A loss of more than so many times the limit refuses a file however uncertain it is: with few identities nothing is
# shown, and a broken file must not pass for want of proof.
FAR_ABOVE = 2.0


@dataclass(frozen=True)
class Excess:
    """A loss above the limit, in words, and whether it is enough to refuse the file."""

    text: str
    refuses: bool


def judged(metric: str, loss: float, interval: tuple[float, float] | None, limit: float) -> Excess:
    """A loss above the limit refuses a file where it is shown (all of its interval is above), or is far above.

    Without an interval, from a protocol that gives nothing but numbers, it refuses it as it stands.
    """
    text = f"{metric} loses {loss:.2%}"
    if interval is None:
        return Excess(text, refuses=True)
    low, high = interval
    text += f" (95 % interval {low:.2%} to {high:.2%})"
    if low > limit or not loss <= FAR_ABOVE * limit:
        return Excess(text, refuses=True)
    return Excess(f"{text}, not shown to be above {limit:.2%}", refuses=False)


def loss_intervals(encoder: Measured, file: Measured) -> dict[str, tuple[float, float]]:
    """Returns the interval of the share of the encoder's figure that the file loses, for each metric.

    Both draw the same identities, so that what makes a draw easy for both is no part of the difference.
    """
    if not (encoder.resample and file.resample):
        return {}
    encoders, files = encoder.resample(DRAWS, SEED), file.resample(DRAWS, SEED)
    intervals = {}
    for metric, drawn in encoders.items():
        exact = encoder.metrics[metric]
        if exact > 0:
            low, high = np.nanpercentile((drawn - files[metric]) / exact, INTERVAL)
            intervals[metric] = (float(low), float(high))
    return intervals


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
        self.found_excesses: dict[str, list[Excess]] = {}
        if old:
            self.add(OLD, old)
        self.add(ENCODER, encoder)

    def add(self, name: str, encoder: Encoder) -> None:
        """Again with another file of that name it replaces the first."""
        if encoder.compatible_dims < encoder.dims:
            encoder = FirstDims(encoder, encoder.compatible_dims)
        for spec, protocol in self.protocols.items():
            self.embedded[spec][name] = protocol.embed(encoder)
        self.found_excesses.pop(name, None)
        self.measured = {key: metrics for key, metrics in self.measured.items() if name not in key[1:]}

    def remove(self, name: str) -> None:
        """Forgets a file that was refused, so that the results are of those that leave."""
        for embedded in self.embedded.values():
            embedded.pop(name, None)

    def measure(self, spec: str, query: str, gallery: str) -> Measured:
        embedded = self.embedded[spec]
        return as_measured(self.protocols[spec].measure(embedded[query][0], embedded[gallery][1]))

    def metrics(self, spec: str, query: str, gallery: str) -> dict[str, float]:
        """Keeps the numbers alone: what they rest on may be gigabytes."""
        if (spec, query, gallery) not in self.measured:
            self.measured[spec, query, gallery] = self.measure(spec, query, gallery).metrics
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
        return {
            f"{metric} of {spec}": loss
            for spec in self.protocols
            for metric, loss in self.losses_on(spec, name).items()
        }

    def losses_on(self, spec: str, name: str) -> dict[str, float]:
        found = {}
        ours = self.metrics(spec, name, self.gallery or name)
        encoders = self.metrics(spec, ENCODER, self.gallery or ENCODER)
        for metric, exact in encoders.items():
            lost = exact - ours[metric]
            found[metric] = lost / exact if exact > 0 else 0.0 if lost <= 0 else float("inf")
        return found

    def excesses(self, name: str) -> list[Excess]:
        """Every loss above the limit, with its interval, which is drawn only where there is one."""
        if name not in self.found_excesses:
            self.found_excesses[name] = [excess for spec in self.protocols for excess in self.excesses_on(spec, name)]
        return self.found_excesses[name]

    def excesses_on(self, spec: str, name: str) -> list[Excess]:
        above = {metric: loss for metric, loss in self.losses_on(spec, name).items() if not loss <= self.max_loss}
        if not above:
            return []
        encoders = self.measure(spec, ENCODER, self.gallery or ENCODER)
        intervals = loss_intervals(encoders, self.measure(spec, name, self.gallery or name))
        return [
            judged(f"{metric} of {spec}", loss, intervals.get(metric), self.max_loss) for metric, loss in above.items()
        ]

    def faults(self, name: str) -> list[str]:
        """Why this file is refused: it loses too much, or is not compatible where the encoder is."""
        too_much = [excess.text for excess in self.excesses(name) if excess.refuses]
        return too_much + ([] if self.incompatible(ENCODER) else self.incompatible(name))

    def doubts(self, name: str) -> list[str]:
        """What its card has to say of a file that passes: losses above the limit that may be chance."""
        return [excess.text for excess in self.excesses(name) if not excess.refuses]

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
