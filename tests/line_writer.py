"""A worker for tests of engines: it writes a line for each piece. Other processes import it."""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bct_keras.engines import Job, Piece
from bct_keras.errors import InputError


@dataclass(frozen=True)
class LineWriter:
    """Writes the name of each piece, and notes that it did."""

    folder: Path
    refused: str = ""  # a piece that cannot be done
    killed_at: str = ""  # a piece at which the process ends
    seconds: float = 0.0  # that each piece takes

    def opener(self):
        return partial(LineWriter, self.folder, self.refused, self.killed_at, self.seconds)

    def do(self, piece, report):
        if piece.name == self.refused:
            raise InputError(f"{piece.name}: this cannot be done")
        if piece.name == self.killed_at:
            os._exit(1)
        time.sleep(self.seconds)
        (self.folder / f"{piece.name}.txt").write_text(piece.content)
        with (self.folder / "log").open("a") as log:
            log.write(f"{piece.name}\n")
        report(piece.size)
        return {"text": piece.content}

    def is_whole(self, piece, result):
        return (self.folder / f"{piece.name}.txt").is_file()


def job(folder: Path, pieces: int = 7, forks: bool = True, **faults: Any) -> Job:
    return Job(
        what="writing",
        worker=LineWriter(folder, **faults),
        pieces=[Piece(f"p{number}", 2, f"text {number}") for number in range(pieces)],
        results=folder / ".results",
        forks=forks,
    )


def log(folder: Path) -> list[str]:
    return sorted((folder / "log").read_text().split())
