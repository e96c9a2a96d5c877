"""Rows of the table that need no training of their own: they are made of the runs of others.

Adapters and the weight of fused queries are fitted as `adapt` does it, on the images that the new
encoder was trained on, and lie in the folder of its run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bct_keras import adapters, artefacts, specs
from bct_keras.adapt.plan import GALLERY, NO_ADAPTER, QUERY, Plan
from bct_keras.adapt.run import adapt, written_before
from bct_keras.benchmark.cells import slug
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate.routes import ADAPTED, FUSED, MOVED

# What a route takes besides what the network takes that it is made of.
NEEDS = {
    ADAPTED: "pairs of embeddings",
    FUSED: "the old encoder for each query",
    MOVED: "pairs of embeddings, the gallery rewritten from its embeddings",
}


@dataclass(frozen=True)
class Searched:
    """What is searched in what: a new encoder in the old gallery, or in one that was moved."""

    new: Encoder
    moved: Encoder | None = None


@dataclass(frozen=True)
class Route:
    """A way to search by the network of another row."""

    name: str
    kind: str
    of: str  # the method whose network it is
    adapter: str  # the kind of adapter, or none

    @property
    def needs(self) -> str:
        """Says what it needs besides the network, in words."""
        words = NEEDS[self.kind]
        if self.kind == FUSED and self.adapter != NO_ADAPTER:
            words = f"{NEEDS[ADAPTED]}, {words}"
        return words

    def plan(self, data: Path, seed: int) -> Plan:
        """Returns what is to be fitted on the images of a data set."""
        return Plan(
            data=str(data),
            direction=GALLERY if self.kind == MOVED else QUERY,
            kind=self.adapter,
            fuse=self.kind == FUSED,
            seed=seed,
        )

    def searched(self, run: Path, new: Encoder, old: Encoder, plan: Plan) -> Searched:
        """Returns what searches and what is searched, fitted where that is not done yet.

        Args:
            run: The folder of the new encoder's run.
            new: The new encoder.
            old: The old one.
            plan: What is to be fitted.
        """
        name = artefacts.fingerprint([plan.made_from(new, old), self.kind])
        out = run / f"{slug(self.kind)}-{name[:10]}"
        adapt(new, old, plan, out, protocols=["none"])
        found = written_before(new, old, out)
        if self.kind == MOVED:
            return Searched(new, found.moved)
        return Searched(found.encoder)


def parse_route(name: str, spec: str, methods: Sequence[str]) -> Route:
    """Reads `adapted(METHOD, adapter=linear)`, `fused(METHOD)`, `moved(METHOD)` and the like.

    Args:
        name: What the row is called.
        spec: The route.
        methods: The names of the rows that are trained.
    """
    found = specs.parse(spec)
    asked = option("route", spec)
    if found.name not in NEEDS or len(found.positional) != 1:
        raise InputError(
            f"{asked} is no route: give one of adapted(METHOD), moved(METHOD), fused(METHOD) and "
            "fused(adapted(METHOD))"
        )
    of = str(specs.literal(found.positional[0]))
    if found.name == FUSED and of not in methods and of.startswith(f"{ADAPTED}("):
        if found.keywords:
            raise InputError(f"{asked}: the adapter is said within adapted(...)")
        inner = parse_route(name, of, methods)
        return Route(name, FUSED, inner.of, inner.adapter)
    if of not in methods:
        raise InputError(f"{asked}: there is no method '{of}'; there are: {', '.join(methods)}")
    if found.name == FUSED and not found.keywords:
        return Route(name, FUSED, of, NO_ADAPTER)
    adapter = found.keywords.pop("adapter", "residual")
    if found.name == FUSED or found.keywords or adapter not in adapters.ADAPTERS:
        known = ", ".join(adapters.ADAPTERS)
        raise InputError(
            f"{asked}: adapted and moved take adapter=KIND, of {known}, and fused takes none"
        )
    return Route(name, found.name, of, adapter)
