"""What a cell comes to: self-tests and cross-test, flips, and the time of a step."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts
from bct_keras.benchmark.cells import Cell
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import build_protocols
from bct_keras.evaluate.compatibility import (
    NEW_OLD,
    OLD_OLD,
    Known,
    embed_upgrade,
    judge,
    known_of_old,
    measure_tests,
    summary,
)
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.flips import flips
from bct_keras.metrics.gains import evidence
from bct_keras.metrics.verdict import Rule
from bct_keras.untrusted.json_files import field, parse_json
from bct_keras.untrusted.reading import read_bytes

VERSION = 2  # of what is kept of a cell


@dataclass(frozen=True)
class OldEncoder:
    """An old encoder, with what it comes to in its own gallery."""

    encoder: Encoder
    known: Known


class Measuring:
    """Keeps what it has measured of a cell in the folder of its run, and embeddings by encoder
    and images.
    """

    def __init__(self, cache: Path):
        self.cache = EmbeddingCache(cache)
        self.protocol = lru_cache(maxsize=None)(self._protocol)
        # The old encoder in its own gallery is the same for all cells beside it.
        self.old = lru_cache(maxsize=4)(self._old)

    def measure(self, cell: Cell, protocol_spec: str) -> dict[str, Any]:
        """Returns what a cell comes to, measured where that is not kept from before."""
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
            found = self._measured(protocol, old, new) | {
                "seconds_per_step": seconds_per_step(cell.run)
            }
            artefacts.write_sealed(kept, found)
            keras.backend.clear_session()
        return found

    def _protocol(self, spec: str) -> Protocol:
        """Builds a protocol."""
        return build_protocols([spec], self.cache)[spec]

    def _old(self, spec: str, place: Path) -> OldEncoder:
        """Embeds and measures an old encoder in its own gallery."""
        encoder = load_encoder(place)
        return OldEncoder(encoder, known_of_old(self.protocol(spec), encoder))

    def _measured(self, protocol: Protocol, old: OldEncoder, new: Encoder) -> dict[str, Any]:
        """Measures a new encoder beside an old one."""
        upgrade = embed_upgrade(protocol, old.encoder, new, old.known.old)
        measured = measure_tests(protocol, upgrade, old.known.measured)
        before, after = measured[OLD_OLD], measured[NEW_OLD]
        found = summary(measured) | evidence(before, after)
        verdict = judge({"protocol": found}, Rule())
        found["verdict"] = verdict.word if verdict else None
        if before.searches:
            turned = flips(before.searches, after.searches, protocol.searched_names())
            found["flips"] = {kind: turned[kind] for kind in ("negative", "positive")}
        return found


def seconds_per_step(run: Path) -> float | None:
    """Returns the mean over all epochs, but the first where there are more.

    In the first one the step is traced.
    """
    path = run / "times.jsonl"
    if not path.exists():
        return None
    seconds, steps = [], []
    try:
        for number, text in enumerate(read_bytes(path).splitlines(), 1):
            where = f"{path}, line {number}"
            epoch = parse_json(text, where)
            seconds.append(field(epoch, "seconds", float, where))
            steps.append(field(epoch, "steps", int, where))
        if not sum(steps[1:] or steps):
            raise InputError(f"{path} has no epoch with a step")
    except InputError as error:
        raise InputError(f"{error}; remove {run} and it is trained again") from None
    return sum(seconds[1:] or seconds) / sum(steps[1:] or steps)
