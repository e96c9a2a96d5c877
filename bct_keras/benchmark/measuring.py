"""What a cell comes to: self-tests and cross-test, flips, and the time of a step."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts
from bct_keras.benchmark.cells import Cell
from bct_keras.benchmark.routes import Route, Searched
from bct_keras.callbacks.times import TIMES_FILE, read_times
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.compatibility import (
    Known,
    embed_upgrade,
    judge,
    known_of_old,
    measure_tests,
    summary,
)
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.findings import NEW_OLD, OLD_OLD, Upgrade
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.routes import RANDOM, Routes, embed_routes, mixed_routes
from bct_keras.metrics.flips import flips
from bct_keras.metrics.gains import evidence, rates_of
from bct_keras.metrics.measured import as_measured
from bct_keras.metrics.mixed import refresh_curves
from bct_keras.metrics.refresh import random_order
from bct_keras.metrics.verdict import Rule
from bct_keras.metrics.verification import Sides

VERSION = 2  # of what is kept of a cell
REFRESH_VERSION = 1  # of what is kept of its hot refresh


@dataclass(frozen=True)
class OldEncoder:
    """An old encoder, with what it comes to in its own gallery."""

    encoder: Encoder
    known: Known


class Measuring:
    """Measures cells, and keeps what it has found.

    The results of a cell are kept in the folder of its run, embeddings by encoder and images.
    """

    def __init__(self, cache: Path):
        """Keeps embeddings in the folder `cache`."""
        self.cache = EmbeddingCache(cache)
        self.protocol = lru_cache(maxsize=None)(self._protocol)
        # The old encoder in its own gallery is the same for all cells beside it.
        self.old = lru_cache(maxsize=4)(self._old)

    def measure(self, cell: Cell, protocol_spec: str, route: Route | None = None) -> dict[str, Any]:
        """Returns what a cell comes to, measured where that is not kept from before.

        Args:
            cell: The new encoder's run and the old encoder.
            protocol_spec: How it is measured, as in retrieval(data/test).
            route: Another way to search by the new encoder.
        """
        case = self.case(cell, protocol_spec, route)
        found = artefacts.read_sealed(case.kept("measured", VERSION))
        if found is None:
            found = measured(case)
            found["seconds_per_step"] = seconds_per_step(cell.run)
            artefacts.write_sealed(case.kept("measured", VERSION), found)
            keras.backend.clear_session()
        return found

    def refresh(
        self, cell: Cell, protocol_spec: str, route: Route | None = None
    ) -> dict[str, float]:
        """Returns each metric's mean while the gallery is re-embedded, in random order.

        There is none where the protocol does not search by rank.
        """
        case = self.case(cell, protocol_spec, route)
        found = artefacts.read_sealed(case.kept("refresh", REFRESH_VERSION))
        if found is None:
            found = {"area": refresh_area(case)}
            artefacts.write_sealed(case.kept("refresh", REFRESH_VERSION), found)
            keras.backend.clear_session()
        return found["area"]

    def case(self, cell: Cell, protocol_spec: str, route: Route | None) -> "Case":
        """Returns the encoders of a cell, with an adapter where its route has one."""
        protocol = self.protocol(protocol_spec)
        old = self.old(protocol_spec, cell.old_encoder)
        new = load_encoder(cell.run)
        searched = Searched(new)
        if route:
            assert cell.data
            plan = route.plan(cell.data, cell.seed)
            searched = route.searched(cell.run, new, old.encoder, plan)
        return Case(cell.run, protocol_spec, protocol, old, searched)

    def _protocol(self, spec: str) -> Protocol:
        """Builds a protocol."""
        protocols = build_protocols([spec], self.cache)
        return protocols[spec]

    def _old(self, spec: str, place: Path) -> OldEncoder:
        """Embeds and measures an old encoder in its own gallery."""
        encoder = load_encoder(place)
        known = known_of_old(self.protocol(spec), encoder)
        return OldEncoder(encoder, known)


@dataclass(frozen=True)
class Case:
    """What is measured: an old encoder, and what is searched in its gallery or a moved one."""

    run: Path  # the new encoder's
    protocol_spec: str
    protocol: Protocol
    old: OldEncoder
    searched: Searched

    def kept(self, what: str, version: int) -> Path:
        """Returns the file that keeps what was measured."""
        made_from = {
            "version": version,
            "old": self.old.encoder.fingerprint,
            "new": self.searched.new.fingerprint,
            self.protocol_spec: self.protocol.made_from(),
        }
        if self.searched.moved:
            made_from["moved"] = self.searched.moved.fingerprint
        return self.run / f"{what}-{artefacts.fingerprint(made_from)[:10]}.json"

    def upgrade(self) -> Upgrade:
        """Returns what the encoders give; no cross-test where the gallery is moved."""
        moved = self.searched.moved
        upgrade = embed_upgrade(
            self.protocol,
            self.old.encoder,
            self.searched.new,
            self.old.known.old,
            may_differ=moved is not None,
        )
        return replace(upgrade, cross=None) if moved else upgrade

    def of_moved(self, upgrade: Upgrade) -> dict[str, Sides]:
        """Returns what is searched in a gallery that is moved; nothing where it is not."""
        return embed_routes(self.protocol, Routes(moved=self.searched.moved), upgrade)


def refresh_area(case: Case) -> dict[str, float]:
    """Returns each metric's mean over 0 to 100 % of the gallery re-embedded, in random order.

    In one space cosines are compared as they are. In two they count by how likely they are.
    """
    upgrade = case.upgrade()
    searched = case.protocol.searched
    for route in mixed_routes(searched, upgrade, case.of_moved(upgrade)):
        for _, merge in route.merges():
            orders = {RANDOM: random_order(len(route.parts.old.gallery.labels))}
            fars = list(rates_of(case.old.known.measured[OLD_OLD].metrics).values())
            curves = refresh_curves(merge, route.parts, orders, fars)
            return curves[RANDOM]["area"]  # by the first way to merge
    return {}


def measured(case: Case) -> dict[str, Any]:
    """Measures a new encoder beside an old one.

    Returns:
        Metrics of each test, gains, the verdict, and flips where the protocol has searches.
    """
    protocol = case.protocol
    upgrade = case.upgrade()
    known = dict(case.old.known.measured)
    for sides in case.of_moved(upgrade).values():
        known[NEW_OLD] = as_measured(protocol.measure(sides.query, sides.gallery))
    tests = measure_tests(protocol, upgrade, known)
    before = tests[OLD_OLD]
    after = tests[NEW_OLD]
    found = summary(tests)
    found |= evidence(before, after)
    verdict = judge({"protocol": found}, Rule())
    found["verdict"] = verdict.word if verdict else None
    if before.searches:
        names = protocol.searched_names()
        turned = flips(before.searches, after.searches, names)
        found["flips"] = {
            "negative": turned["negative"],
            "positive": turned["positive"],
        }
    return found


def seconds_per_step(run: Path) -> float | None:
    """Returns the mean over all epochs, but the first where there are more.

    In the first one the step is traced.
    """
    path = run / TIMES_FILE
    if not path.exists():
        return None
    try:
        epochs = read_times(path)
        counted = epochs[1:] or epochs
        steps = sum(epoch.steps for epoch in counted)
        if not steps:
            raise InputError(f"{path} has no epoch with a step")
    except InputError as error:
        raise InputError(f"{error}; remove {run} and it is trained again") from None
    return sum(epoch.seconds for epoch in counted) / steps
