"""What a gallery knows of encoders, and what it tells of its entries."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from bct_keras.errors import InputError
from bct_keras.metrics.odds import Odds

# Which of a query's two embeddings entries are searched by: that of its encoder's own gallery, or
# the one that fits the gallery of an older encoder.
BY_EMBEDDING, BY_COMPATIBLE = "embedding", "embedding_compatible"


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder that has made entries; its fingerprint is what they know it by.

    Entries that were moved are made by an encoder behind an adapter, which has a fingerprint of its
    own.
    """

    fingerprint: str
    dims: int
    name: str  # where it lay, for people
    base: str = ""  # of moved entries: the fingerprint of the encoder that embedded them
    adapter: str = ""  # and the fingerprint of the adapter that moved them

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint[:12]})"


@dataclass(frozen=True)
class Compatibility:
    """Queries of one encoder may be searched among entries of another, as `evaluate` found."""

    query: str  # fingerprints
    gallery: str
    report: str  # fingerprint of the report that says so
    finding: str
    by: str = BY_COMPATIBLE  # which of the query's embeddings searches these entries
    # What cosines stand for, as `metrics.odds.Odds` has it; empty where the report does not say.
    calibration: dict = field(default_factory=dict)

    @cached_property
    def odds(self) -> Odds | None:
        """Returns what cosines stand for; None where it is not known."""
        if not self.calibration:
            return None
        return Odds.from_facts(self.calibration)


@dataclass(frozen=True)
class Removal:
    """What was asked to be forgotten, and what became of it."""

    entries: int  # how many were removed
    unknown_ids: list[str]  # asked for and not there
    unknown_labels: list[str]
    erased: str  # what is known of their bytes, for people


@dataclass(frozen=True)
class Backfilled:
    """Says what a backfill has done."""

    entries: int  # that were embedded anew
    is_beside: bool  # whether they lie beside those that are searched until the cut-over


@dataclass(frozen=True)
class LetGo:
    """What became of the original vectors of moved entries."""

    entries: int  # how many had one
    erased: str  # what is known of their bytes, for people


@dataclass(frozen=True)
class CutOver:
    """What is searched since a cut-over."""

    encoder: KnownEncoder
    entries: int
    carried: int  # how many of them it has not embedded, which go on as they were


MATCH, NO_MATCH, NOT_KNOWN = "match", "no match", "not known"
LONGEST_NAME = 1024  # bytes of an id or a label


@dataclass(frozen=True)
class Match:
    """An entry that a query finds."""

    id: str
    label: str
    score: float  # cosine
    encoder: str  # fingerprint of the encoder that made this entry
    # The share of pairs of two identities that would stand as high in the list; None where it is
    # not known.
    rate: float | None = None

    def word(self, far: float) -> str:
        """Returns whether it is a match where this share of false accepts may be."""
        if self.rate is None:
            return NOT_KNOWN
        return MATCH if self.rate <= far else NO_MATCH


@dataclass(frozen=True)
class Description:
    """What a gallery holds."""

    entries: dict[KnownEncoder, int]
    compatible: list[Compatibility]
    remarks: list[str]

    @property
    def dims(self) -> list[int]:
        """Returns the dimensions that entries have, the fewest first."""
        return sorted({encoder.dims for encoder in self.entries})

    def facts(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        encoders = []
        for encoder, count in self.entries.items():
            encoders.append({"entries": count, **asdict(encoder)})
        compatible = []
        for each in self.compatible:
            compatible.append({"queries": each.query, "entries": each.gallery, "by": each.by})
        return {
            "entries": sum(self.entries.values()),
            "encoders": encoders,
            "compatible": compatible,
            "remarks": self.remarks,
        }


def first_positions(ids: list[str]) -> dict[str, int]:
    """Returns where each id comes first."""
    found: dict[str, int] = {}
    for position, ident in enumerate(ids):
        found.setdefault(ident, position)
    return found


def check_name(name: str) -> None:
    """Raises where a text can be no id and no label."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:  # as Python reads a file's name that is no UTF-8
        raise InputError(f"{name!r} is no text in UTF-8, which ids and labels have to be") from None
    if len(encoded) > LONGEST_NAME:
        raise InputError(
            f"'{name[:60]}...' is too long: ids and labels have at most {LONGEST_NAME} bytes"
        )
