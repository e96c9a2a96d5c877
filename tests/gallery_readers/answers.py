"""What a reader of a gallery file answers, in the same words whatever it is written in."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.spaces import Query

# What an error of bct_keras says, and the word of the other readers for it.
WORDS = (
    ("is no gallery", "no gallery"),
    ("is a gallery of version", "other version"),
    (" is damaged at byte", "damaged"),
    ("is not known to be compatible", "not admitted"),
    ("they cannot be compared", "other dimensions"),
    ("and no report says what its cosines", "not calibrated"),
    ("is all zeros", "bad query"),
)


@dataclass(frozen=True)
class Asked:
    """One query."""

    encoder: str
    embedding: np.ndarray  # [dims] float32
    compatible: np.ndarray | None = None
    labels: tuple[str, ...] = ()  # of the entries that are searched; of all where there are none

    def query(self) -> Query:
        """Returns it as bct_keras takes it."""
        compatible = None if self.compatible is None else self.compatible[None]
        return Query(self.encoder, self.embedding[None], compatible, self.labels)

    def packed(self) -> bytes:
        """Returns it as the reader in C takes it."""
        encoder = self.encoder.encode()
        parts = [struct.pack("<I", len(encoder)), encoder]
        for embedding in (self.embedding, self.compatible):
            floats = b"" if embedding is None else embedding.astype("<f4").tobytes()
            parts += [struct.pack("<I", len(floats) // 4), floats]
        parts.append(struct.pack("<I", len(self.labels)))
        for label in self.labels:
            parts += [struct.pack("<I", len(label.encode())), label.encode()]
        return b"".join(parts)

    def facts(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        compatible = None if self.compatible is None else self.compatible.tolist()
        return {
            "encoder": self.encoder,
            "embedding": self.embedding.tolist(),
            "compatible": compatible,
            "labels": list(self.labels),
        }

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Asked":
        """Returns what JSON has."""
        compatible = facts["compatible"]
        return cls(
            facts["encoder"],
            np.array(facts["embedding"], np.float32),
            None if compatible is None else np.array(compatible, np.float32),
            tuple(facts["labels"]),
        )


def word_of(error: InputError) -> str:
    """Returns the word for an error."""
    for said, word in WORDS:
        if re.search(said, str(error)):
            return word
    raise AssertionError(f"no reader has a word for: {error}")


def by_python(path: Path, asked: list[Asked], top: int) -> dict[str, Any]:
    """Returns what bct_keras answers."""
    reader = FileGallery(str(path))
    try:
        reader.refresh()
        reader.check()
    except InputError as error:
        reader.close()
        return {"opened": word_of(error), "found": []}
    found = []
    for each in asked:
        try:
            (matches,) = reader.find(each.query(), top)
        except InputError as error:
            found.append({"status": word_of(error), "matches": []})
            continue
        rows = []
        for match in matches:
            rate = -1.0 if match.rate is None else match.rate
            rows.append([match.id, match.label, match.encoder, match.score, rate])
        found.append({"status": "good", "matches": rows})
    reader.close()
    return {"opened": "good", "found": found}


def by_lines(lines: list[str]) -> dict[str, Any]:
    """Returns what the reader in C has written of one file."""
    answer: dict[str, Any] = {"opened": lines[0], "found": []}
    for line in lines[1:]:
        if line.startswith("> "):
            answer["found"].append({"status": line[2:], "matches": []})
            continue
        ident, label, encoder, score, rate = line.split("|")
        texts = [
            bytes.fromhex(each).decode(errors="surrogatepass") for each in (ident, label, encoder)
        ]
        answer["found"][-1]["matches"].append([*texts, float(score), float(rate)])
    return answer


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Returns where two answers differ; nothing where they agree.

    Entries whose scores are as good as equal may stand in either order.
    """
    if one["opened"] != other["opened"]:
        return f"{one['opened']} and {other['opened']}"
    for number, (first, second) in enumerate(zip(one["found"], other["found"], strict=True)):
        if first["status"] != second["status"]:
            return f"query {number}: {first['status']} and {second['status']}"
        different = differing(first["matches"], second["matches"])
        if different:
            return f"query {number}: {different}"
    return ""


def differing(first: list[list[Any]], second: list[list[Any]]) -> str:
    """Returns where two lists of matches differ."""
    if len(first) != len(second):
        return f"{len(first)} and {len(second)} matches"
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        *name, score, rate = one
        *other_name, other_score, other_rate = other
        near = abs(score - other_score) < 1e-5 and abs(rate - other_rate) <= 1e-3 * abs(rate)
        # Of scores that are as good as equal any order will do.
        if name != other_name:
            equals = [each[:3] for each in second if abs(each[3] - score) < 1e-6]
            near = near and len(equals) > 1 and name in equals
        if not near:
            return f"place {place}: {one} and {other}"
    return ""
