"""Says what decides whether a file may leave, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate.protocol import Protocol
from bct_keras.metrics.verdict import Rule


@dataclass(frozen=True)
class Checks:
    """What decides whether a file may leave."""

    protocols: Sequence[str] | Mapping[str, Protocol] = ()  # built already, or to be built
    old: Encoder | None = None
    max_loss: float = 0.01
    allow_loss: bool = False
    rule: Rule = field(default_factory=Rule)
    strict: bool = False  # whether an undecided verdict is refused


class RefusedError(InputError):
    """One file that may not leave, with the numbers."""


@dataclass(frozen=True)
class Exported:
    """What was written, and why the rest was not."""

    files: dict[str, str]  # of each format that is written, a line about it
    refused: dict[str, str]  # of each format that is not, the reason
    verdict: str | None = None  # on the encoder, where it was measured against an old one

    def refusal(self) -> RefusedError | None:
        """Returns the error of formats that were asked for and not written; None where all were."""
        if not self.refused:
            return None
        written = "nothing is written"
        if self.files:
            written = f"{', '.join(self.files)} written"
        leave_out = f"leave what is refused out of {option('formats')}"
        helps = f"{written}; {leave_out}, calibrate on more images, or train longer"
        return RefusedError(*self.refused.values(), helps)

    def facts(self) -> dict[str, Any]:
        """Returns what was written and refused, as JSON has it."""
        return {"written": self.files, "refused": self.refused, "verdict": self.verdict}

    def __str__(self) -> str:
        """Returns a line for each file, and the verdict where there is one."""
        lines = list(self.files.values())
        if self.verdict:
            lines.append(f"exported as {self.verdict}")
        return "\n".join(lines)
