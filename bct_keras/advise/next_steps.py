"""Names the commands that go on from a decision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bct_keras.advise.candidates import (
    ADAPTED,
    AS_IT_IS,
    FUSED,
    KEEP,
    MOVED,
    TRAINED,
    Route,
    name_of,
)
from bct_keras.advise.plan import Plan
from bct_keras.advise.speed import embeds_images
from bct_keras.encoders import Encoder
from bct_keras.printable import GALLERY, command_line

EXPORTED = "exported"  # its name begins so


@dataclass(frozen=True)
class Step:
    """Says what to do, and by which command."""

    text: str
    command: list[str]  # its words, as a shell takes them; none where it is no command of ours


@dataclass(frozen=True)
class NextSteps:
    """Knows what the commands have to name.

    Attributes:
        old: The old encoder.
        plan: What adapters were fitted by.
        protocols: The specs of those protocols that a command can be given.
        asked: Whether the user has named them; else commands find them by themselves.
        few: Whether there are too few images to train a network from random weights.
    """

    old: Encoder
    plan: Plan
    protocols: Sequence[str]
    asked: bool
    few: bool = False

    def after(self, route: Route, compared: Sequence[Route]) -> list[Step]:
        """Returns the steps that a route takes.

        Args:
            route: The one to take.
            compared: All that there were.
        """
        if route.kind == KEEP:
            return list(self.after_keeping(compared))
        if route.kind in (TRAINED, AS_IT_IS):
            return [self.shipping(route)]
        if route.kind == MOVED:
            return list(self.after_moving(route))
        assert route.kind in (ADAPTED, FUSED)
        return list(self.after_adapting(route))

    def shipping(self, route: Route) -> Step:
        """Returns how an encoder is shipped that searches the old gallery by itself."""
        if not embeds_images(route.own):
            return Step(f"Embed queries by the encoder that {name_of(route.own)} is of", [])
        return self.export(name_of(route.own))

    def after_keeping(self, compared: Sequence[Route]) -> Iterator[Step]:
        """Yields how to come to a route that is better."""
        if self.plan.data and not any(route.kind == TRAINED for route in compared):
            flags = {"data": self.plan.data, "old": name_of(self.old), "method": "mixbct"}
            starts = [name_of(each.own) for each in compared if each.kind == AS_IT_IS]
            if self.few:  # too few to train a network from nothing
                flags["start"] = starts[0] if starts else "NEW"
            yield Step(
                "A route that was not compared: train the new encoder to be compatible, and give"
                " the run by --trained",
                command_line("train", flags | {"workdir": "runs/mixbct"}),
            )

    def after_moving(self, route: Route) -> Iterator[Step]:
        """Yields how a gallery is moved."""
        yield self.proof(route)
        flags = {
            "gallery": GALLERY,
            "adapter": str(route.folder),
            "report": f"{route.folder}/report",
        }
        yield Step(
            "Move the entries; the original vectors are kept until gallery forget-originals",
            command_line("gallery move", flags),
        )

    def after_adapting(self, route: Route) -> Iterator[Step]:
        """Yields how queries by an adapter, or fused ones, are shipped."""
        yield self.proof(route)
        if route.in_one_file:
            yield self.export(str(route.folder))
        elif route.query_map is not None:
            yield Step(f"Send each query through {route.folder}/adapter.keras", [])

    def proof(self, route: Route) -> Step:
        """Returns the command that finds what was fitted, and writes the report on it."""
        plan = self.plan.of_queries()
        if route.kind == MOVED:
            plan = self.plan.of_gallery()
        elif route.kind == FUSED:
            plan = self.plan.of_fused() if route.pairs else self.plan.of_fused_trained()
        flags = {"new": name_of(route.own), "old": name_of(self.old)}
        flags |= plan.options()
        if self.asked:
            flags["protocol"] = list(self.protocols)
        flags["out"] = str(route.folder)
        return Step(
            "Write the report that a gallery and a gate ask for; nothing is fitted again",
            command_line("adapt", flags),
        )

    def export(self, encoder: str) -> Step:
        """Returns the command that writes an encoder for servers and devices."""
        flags = {
            "encoder": encoder,
            "old": name_of(self.old),
            "protocol": list(self.protocols),
            "out": f"{EXPORTED}-{PurePath(encoder).stem}",  # there may be another one's files
        }
        return Step("Export the encoder of the queries", command_line("export", flags))
