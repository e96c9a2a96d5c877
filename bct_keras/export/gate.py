"""Tells whether exported files are as good as their encoder, each measured in its own run time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bct_keras.encoders import Encoder
from bct_keras.evaluate.compatibility import check_dims
from bct_keras.evaluate.protocol import Protocol, adopted
from bct_keras.export.spaces import Spaces, embedded
from bct_keras.metrics.gains import evidence, gains
from bct_keras.metrics.measured import Measured, as_measured
from bct_keras.metrics.verdict import (
    NOT_COMPATIBLE,
    UNDECIDED,
    Gain,
    Rule,
    Verdict,
    decide,
    gains_of,
)

ENCODER, OLD = "encoder", "old"
# A loss of more than so many times the limit refuses a file however uncertain it is: with few
# identities nothing is shown, and a broken file must not pass for want of proof.
FAR_ABOVE = 2.0


@dataclass(frozen=True)
class Excess:
    """A loss above the limit, in words, and whether it is enough to refuse the file."""

    text: str
    refuses: bool


def judged(metric: str, loss: float, interval: tuple[float, float] | None, limit: float) -> Excess:
    """Tells whether a loss above the limit refuses a file.

    It does where the loss is shown (all of its interval is above the limit), or is far above.
    Without an interval, from a protocol that gives nothing but numbers, it refuses the file as it
    stands.
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
    """Returns for each metric the interval of the share that the file loses."""
    if not (encoder.influences and file.influences):
        return {}
    encoders = encoder.influences()
    files = file.influences()
    intervals = {}
    for metric, exact in encoder.metrics.items():
        lost = encoders[metric] - files[metric]
        gain = Gain(
            name=metric,
            old=file.metrics[metric],
            cross=exact,
            error=lost.standard_error(),
            units=len(lost.own),
        )
        ends = gain.interval()
        if exact > 0 and ends:
            low, high = ends
            intervals[metric] = (low / exact, high / exact)
    return intervals


@dataclass(frozen=True)
class Search:
    """Queries of a file in the gallery of another, and of what metrics of it are called."""

    query: str
    gallery: str
    suffix: str = ""


class Gate:
    """Measures files against each other.

    It embeds the protocols' images once by each output of a file. Queries of any file are searched
    in the gallery of any: in the old one by `embedding_compatible`, and in others by `embedding`.
    """

    def __init__(
        self,
        protocols: dict[str, Protocol],
        old: Encoder | None,
        encoder: Encoder,
        max_loss: float,
        rule: Rule,
    ):
        check_dims(old, encoder)
        self.protocols = {spec: adopted(protocol) for spec, protocol in protocols.items()}
        self.max_loss = max_loss
        self.rule = rule
        # Whose gallery the verdict is about; without an old encoder a file's own.
        self.gallery = OLD if old else None
        # Whether a file has one embedding for its own gallery and another one for the old.
        self.two_spaces = encoder.compatible is not encoder
        self.embedded: dict[str, dict[str, Spaces]] = {spec: {} for spec in protocols}
        self.measured: dict[tuple[str, str, str], dict[str, float]] = {}
        self.found_excesses: dict[str, list[Excess]] = {}
        self.found_verdicts: dict[str, Verdict | None] = {}
        if old:
            self.add(OLD, old)
        self.add(ENCODER, encoder)

    def add(self, name: str, encoder: Encoder) -> None:
        """Embeds the images by a file; another file of that name is replaced."""
        for spec, protocol in self.protocols.items():
            if name == OLD:  # its gallery is what it gives for itself
                own = protocol.embed(encoder)
                self.embedded[spec][name] = Spaces(own, own)
            else:
                self.embedded[spec][name] = embedded(protocol, encoder)
        self.found_excesses.pop(name, None)
        self.found_verdicts.pop(name, None)
        for key in list(self.measured):
            _, query, gallery = key
            if name in (query, gallery):
                del self.measured[key]

    def remove(self, name: str) -> None:
        """Forgets a file that was refused, so that the results are of those that leave."""
        for of_files in self.embedded.values():
            of_files.pop(name, None)

    def measure(self, spec: str, query: str, gallery: str) -> Measured:
        """Measures queries of one file in the gallery of another."""
        spaces = self.embedded[spec][query]
        searching = spaces.compatible if gallery == OLD else spaces.own
        entries = self.embedded[spec][gallery].own
        found = self.protocols[spec].measure(searching.query, entries.gallery)
        return as_measured(found)

    def metrics(self, spec: str, query: str, gallery: str) -> dict[str, float]:
        """Returns the metrics of one file's queries in the gallery of another.

        They alone are kept: what they rest on may be gigabytes.
        """
        key = (spec, query, gallery)
        if key not in self.measured:
            found = self.measure(spec, query, gallery)
            self.measured[key] = found.metrics
        return self.measured[key]

    def verdict(self, name: str = ENCODER) -> Verdict | None:
        """Returns the verdict on one's queries in the old gallery; None without an old encoder."""
        if self.gallery is None:
            return None
        if name not in self.found_verdicts:
            found = {spec: list(self.gains(spec, name)) for spec in self.protocols}
            self.found_verdicts[name] = decide(found, self.rule)
        return self.found_verdicts[name]

    def gains(self, spec: str, name: str) -> Iterator[Gain]:
        """Yields what a file gains over the old encoder, by each metric."""
        old = self.measure(spec, OLD, OLD)
        cross = self.measure(spec, name, OLD)
        result = {"old/old": old.metrics, "new/old": cross.metrics}
        result |= gains(old, cross)
        result |= evidence(old, cross)
        protocol = spec if len(self.protocols) > 1 else ""
        return gains_of(result, protocol)

    def searches(self, name: str) -> list[Search]:
        """Returns by which searches a file may lose: those in the old gallery, or in its own.

        Both, where it has an embedding for each.
        """
        own = Search(name, name)
        if self.gallery is None:
            return [own]
        found = [Search(name, OLD)]
        if self.two_spaces:
            found.append(replace(own, suffix=" among its own"))
        return found

    def losses(self, name: str) -> dict[str, float]:
        """Returns what share of the encoder's own figure a file loses, for each metric.

        A gain is negative.
        """
        found = {}
        for spec in self.protocols:
            for search in self.searches(name):
                for metric, loss in self.losses_of(spec, search).items():
                    found[f"{metric} of {spec}{search.suffix}"] = loss
        return found

    def losses_of(self, spec: str, search: Search) -> dict[str, float]:
        """Returns the same of one search of one protocol."""
        exact_search = self.exact(search)
        files = self.metrics(spec, search.query, search.gallery)
        encoders = self.metrics(spec, exact_search.query, exact_search.gallery)
        found = {}
        for metric, exact in encoders.items():
            lost = exact - files[metric]
            if exact > 0:
                found[metric] = lost / exact
            else:
                found[metric] = 0.0 if lost <= 0 else float("inf")
        return found

    def exact(self, search: Search) -> Search:
        """Returns the same search by the encoder in place of a file."""
        gallery = OLD if search.gallery == OLD else ENCODER
        return replace(search, query=ENCODER, gallery=gallery)

    def excesses(self, name: str) -> list[Excess]:
        """Returns every loss above the limit, with its interval where there is one."""
        if name not in self.found_excesses:
            found = []
            for spec in self.protocols:
                for search in self.searches(name):
                    found += self.excesses_of(spec, search)
            self.found_excesses[name] = found
        return self.found_excesses[name]

    def excesses_of(self, spec: str, search: Search) -> list[Excess]:
        """Returns the same of one search; intervals are drawn only where a loss is too large."""
        above = {}
        for metric, loss in self.losses_of(spec, search).items():
            if not loss <= self.max_loss:
                above[metric] = loss
        if not above:
            return []
        exact_search = self.exact(search)
        encoder = self.measure(spec, exact_search.query, exact_search.gallery)
        file = self.measure(spec, search.query, search.gallery)
        intervals = loss_intervals(encoder, file)
        found = []
        for metric, loss in above.items():
            interval = intervals.get(metric)
            name = f"{metric} of {spec}{search.suffix}"
            found.append(judged(name, loss, interval, self.max_loss))
        return found

    def faults(self, name: str) -> list[str]:
        """Returns why a file is refused.

        It loses too much, or is not compatible where the encoder is.
        """
        too_much = []
        for excess in self.excesses(name):
            if excess.refuses:
                too_much.append(excess.text)
        encoder = self.verdict(ENCODER)
        file = self.verdict(name)
        if encoder and file and file.word == NOT_COMPATIBLE != encoder.word:
            too_much.append(file.sentence)
        return too_much

    def doubts(self, name: str) -> list[str]:
        """Returns what the card has to say of a file that passes.

        These are losses above the limit that may be chance.
        """
        found = []
        for excess in self.excesses(name):
            if not excess.refuses:
                found.append(excess.text)
        encoder = self.verdict(ENCODER)
        file = self.verdict(name)
        if encoder and file and file.word == UNDECIDED != encoder.word:
            found.append(file.sentence)
        return found

    def results(self) -> dict[str, dict[str, dict[str, float]]]:
        """Returns {protocol: {"query/gallery": metrics}} of all pairs.

        The old encoder's queries are searched in its own gallery only.
        """
        found = {}
        for spec, names in self.embedded.items():
            tests = {}
            for query in names:
                for gallery in names:
                    if query != OLD or gallery == OLD:
                        tests[f"{query}/{gallery}"] = self.metrics(spec, query, gallery)
            found[spec] = tests
        return found
