"""Reads what a gallery file says of encoders, and refuses what bct_keras refuses.

The facts stand in bct_keras/gallery/FORMAT.md.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard, TypeVar

from gallery_blocks import Block

EMBEDDING, COMPATIBLE = "embedding", "embedding_compatible"


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder that has made entries."""

    fingerprint: str
    dims: int
    name: str
    base: str = ""  # of moved entries: the encoder's fingerprint
    adapter: str = ""  # and that of what moved them


@dataclass(frozen=True)
class Compatibility:
    """Queries of one encoder may search the entries of another."""

    query: str  # fingerprints
    gallery: str
    report: str
    finding: str
    by: str = COMPATIBLE  # which of a query's two embeddings searches these entries
    calibration: dict = field(default_factory=dict)


Fact = TypeVar("Fact", KnownEncoder, Compatibility)


def encoder_of(block: Block) -> KnownEncoder:
    """Reads a block that names an encoder."""
    encoder = fact_of(block, KnownEncoder)
    if encoder.dims < 1:
        raise block.damaged(f"an encoder of {encoder.dims} dimensions")
    return encoder


def compatibility_of(block: Block) -> Compatibility:
    """Reads a block that says which queries fit which entries."""
    found = fact_of(block, Compatibility)
    if found.by not in (EMBEDDING, COMPATIBLE):
        raise block.damaged("an embedding that no encoder gives")
    if found.calibration and not is_calibration(found.calibration):
        raise block.damaged("a calibration that is none")
    return found


def fact_of(block: Block, kind: type[Fact]) -> Fact:
    """Reads a JSON object with the names and types of this kind."""
    block.check()
    text = bytes(block.payload).rstrip(b"\0")  # without the padding
    try:
        found = kind(**json.loads(text.decode(), parse_constant=no_number))
    except (ValueError, TypeError, RecursionError):
        raise block.damaged(f"it holds no {kind.__name__}") from None
    for each in fields(kind):
        if type(getattr(found, each.name)) is not each.type:
            raise block.damaged(f"it holds no {kind.__name__}")
    return found


def no_number(name: str) -> float:
    """Raises: NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is no number")


def is_calibration(facts: dict[str, Any]) -> bool:
    """Tells whether the facts are two curves: of pairs of two identities, and of one."""
    genuine = facts.get("genuine")
    if not isinstance(genuine, dict):
        return False
    return is_curve(facts) and is_curve(genuine)


def is_curve(facts: dict[str, Any]) -> bool:
    """Tells whether cosines rise and the rates beside them fall, from 1 at most to above 0."""
    cosines, rates = facts.get("cosines"), facts.get("rates")
    if not (are_numbers(cosines) and are_numbers(rates)):
        return False
    if len(cosines) != len(rates) or len(cosines) < 2:
        return False
    for place in range(1, len(cosines)):
        rises = cosines[place] > cosines[place - 1]
        falls = rates[place] < rates[place - 1]
        if not (rises and falls):
            return False
    return rates[0] <= 1 and rates[-1] > 0


def are_numbers(values: Any) -> TypeGuard[list[float]]:
    """Tells whether a value is a list of numbers."""
    if not isinstance(values, list):
        return False
    return all(type(value) in (int, float) for value in values)
