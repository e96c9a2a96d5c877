"""Reads how long the epochs of a run took, as `watching.TimesFile` writes it."""

from dataclasses import dataclass
from pathlib import Path

from bct_keras.untrusted.json_files import field, parse_json
from bct_keras.untrusted.reading import read_bytes

TIMES_FILE = "times.jsonl"


@dataclass(frozen=True)
class EpochTime:
    """The time that an epoch took."""

    seconds: float
    steps: int


def read_times(path: Path) -> list[EpochTime]:
    """Reads a run's times.jsonl, which has a line for each epoch."""
    epochs = []
    for number, text in enumerate(read_bytes(path).splitlines(), 1):
        where = f"{path}, line {number}"
        line = parse_json(text, where)
        epoch = EpochTime(
            seconds=field(line, "seconds", float, where),
            steps=field(line, "steps", int, where),
        )
        epochs.append(epoch)
    return epochs
