"""Writes the files of an export, each as far as the gate lets it out."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras.encoders import load_encoder
from bct_keras.errors import option
from bct_keras.evaluate import summary
from bct_keras.export import model_card
from bct_keras.export.checks import Checks, Exported, RefusedError
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.closeness import Closeness, compared
from bct_keras.export.formats.format import Format, Reference, Source
from bct_keras.export.gate import Gate

# What is tried in turn where a quantised file is refused.
KEPT_FLOAT = (0.0, 0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Writing:
    """Writes the files of one export into its folder."""

    source: Source
    gate: Gate
    checks: Checks
    folder: Path

    def write_all(self, formats: list[str], data_licence: str) -> dict[str, Any]:
        """Writes each format that passes, gate.json and the card.

        Returns what the manifest says of them.
        """
        files: dict[str, Any] = {}
        refused: dict[str, str] = {}
        for name in formats:
            form = FORMATS[name]
            try:
                files[name] = self.write(form, name)
            except RefusedError as error:
                refused[name] = str(error)
                remove(self.folder / form.file)
                self.gate.remove(name)
        if not files:
            nothing = Exported(files, refused).refusal()
            raise nothing or RefusedError("nothing was asked for")
        verdict = self.gate.verdict()
        card = model_card.Card(
            source=self.source,
            old=self.checks.old,
            verdict=verdict.sentence if verdict else None,
            files=files,
            refused=refused,
            results=self.gate.results(),
            data_licence=data_licence,
            date=summary.today(),
        )
        facts = {"verdict": card.verdict, "files": files, "refused": refused}
        gate_facts = facts | {"protocols": card.results}
        (self.folder / "gate.json").write_text(json.dumps(gate_facts, indent=1) + "\n")
        (self.folder / "MODEL_CARD.md").write_text(card.text())
        outputs = self.source.output_facts()
        return facts | {"served_name": self.source.served_name, "outputs": outputs}

    def write(self, form: Format, name: str) -> dict[str, Any]:
        """Writes one file, with more and more of it in float while the gate refuses it.

        Returns what is known of the file.
        """
        path = self.folder / form.file
        reference = Reference(self.source)
        faults: list[str] = []
        facts: dict[str, Any] = {}
        for share in self.shares_to_try(form):
            form.write(dataclasses.replace(self.source, kept_float=share), path)
            found = compared(reference, path)
            check_closeness(form, name, found)
            encoder = load_encoder(path)
            encoder.cached = False  # nobody asks for it again
            self.gate.add(name, encoder)
            faults = self.gate.faults(name)
            facts = {"difference": found.difference, "cosine": found.cosine, "kept_float": share}
            if not faults:
                break
        if faults and not self.checks.allow_loss:
            limit = option("max_loss", self.checks.max_loss)
            lets_out = f"{option('allow_loss', True)} lets it out as it is"
            raise RefusedError(f"{name} is refused: {'; '.join(faults)} ({limit}; {lets_out})")
        return {
            "file": form.file,
            "bytes": size_of(path),
            **facts,
            "losses": self.gate.losses(name),
            "faults": faults,
            "doubts": self.gate.doubts(name),
        }

    def shares_to_try(self, form: Format) -> tuple[float, ...]:
        """Returns what shares of the operations may be kept in float, one after the other."""
        checks = self.checks
        if form.can_keep_float and checks.protocols and not checks.allow_loss:
            return KEPT_FLOAT
        return (0.0,)


def remove(path: Path) -> None:
    """Removes a file or a folder, where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_closeness(form: Format, name: str, found: Closeness) -> None:
    """Raises where the file is further from its encoder than its format allows."""
    difference, cosine = found.difference, found.cosine
    largest = form.largest_difference
    if largest is not None and not difference <= largest:
        differs = f"{name} differs from its encoder by {difference:.2e}"
        raise RefusedError(f"{differs}, more than {largest:.0e}")
    smallest = form.smallest_cosine
    if smallest is not None and not cosine >= smallest:
        raise RefusedError(f"{name}: cosine {cosine:.6f} with its encoder, less than {smallest}")
    if not np.isfinite(difference):
        raise RefusedError(f"{name} gives no finite embedding")


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    size = 0
    for file in path.rglob("*"):
        if file.is_file():
            size += file.stat().st_size
    return size
