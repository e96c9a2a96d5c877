"""What a cell comes to: self-tests and cross-test, flips, and the time of a step."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts
from bct_keras.benchmark.cells import Cell
from bct_keras.callbacks.times import TIMES_FILE, read_times
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import build_protocols
from bct_keras.evaluate.compatibility import (
    Known,
    embed_upgrade,
    judge,
    known_of_old,
    measure_tests,
    summary,
)
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.findings import NEW_OLD, OLD_OLD
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.flips import flips
from bct_keras.metrics.gains import evidence
from bct_keras.metrics.verdict import Rule

VERSION = 2  # of what is kept of a cell


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

    def measure(self, cell: Cell, protocol_spec: str) -> dict[str, Any]:
        """Returns what a cell comes to, measured where that is not kept from before.

        Args:
            cell: The new encoder's run and the old encoder.
            protocol_spec: How it is measured, as in retrieval(data/test).
        """
        protocol = self.protocol(protocol_spec)
        old = self.old(protocol_spec, cell.old_encoder)
        new = load_encoder(cell.run)
        made_from = {
            "version": VERSION,
            "old": old.encoder.fingerprint,
            "new": new.fingerprint,
            protocol_spec: protocol.made_from(),
        }
        kept = cell.run / f"measured-{artefacts.fingerprint(made_from)[:10]}.json"
        found = artefacts.read_sealed(kept)
        if found is None:
            found = measured(protocol, old, new)
            found["seconds_per_step"] = seconds_per_step(cell.run)
            artefacts.write_sealed(kept, found)
            keras.backend.clear_session()
        return found

    def _protocol(self, spec: str) -> Protocol:
        """Builds a protocol."""
        protocols = build_protocols([spec], self.cache)
        return protocols[spec]

    def _old(self, spec: str, place: Path) -> OldEncoder:
        """Embeds and measures an old encoder in its own gallery."""
        encoder = load_encoder(place)
        known = known_of_old(self.protocol(spec), encoder)
        return OldEncoder(encoder, known)


def measured(protocol: Protocol, old: OldEncoder, new: Encoder) -> dict[str, Any]:
    """Measures a new encoder beside an old one.

    Args:
        protocol: How they are measured.
        old: The old encoder, with what it comes to in its own gallery.
        new: The new encoder.

    Returns:
        Metrics of each test, gains, the verdict, and flips where the protocol has searches.
    """
    upgrade = embed_upgrade(protocol, old.encoder, new, old.known.old)
    tests = measure_tests(protocol, upgrade, old.known.measured)
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
