"""Writes an encoder in several formats, and lets out only files that search the old gallery as well
as it does.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts
from bct_keras.encoders import EXPORT_KIND, Encoder, KerasEncoder, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate import build_protocols
from bct_keras.evaluate.protocol import Protocol
from bct_keras.export import model_card
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.closeness import Closeness, compared
from bct_keras.export.formats.format import Format, Reference, Source
from bct_keras.export.gate import Gate
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED, Rule
from bct_keras.printable import line

# What is tried in turn where a quantised file is refused.
KEPT_FLOAT = (0.0, 0.1, 0.3, 0.6)


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
        """Returns the error that a command ends with where a format that was asked for is not
        written.
        """
        if not self.refused:
            return None
        written = f"{', '.join(self.files)} written" if self.files else "nothing is written"
        leave_out = f"leave what is refused out of {option('formats')}"
        helps = f"{written}; {leave_out}, calibrate on more images, or train longer"
        return RefusedError(*self.refused.values(), helps)

    def __str__(self) -> str:
        lines = list(self.files.values())
        if self.verdict:
            lines.append(f"exported as {self.verdict}")
        return "\n".join(lines)


def export(
    source: Source, formats: list[str], out: Path, checks: Checks, data_licence: str = ""
) -> Exported:
    """Writes those formats that pass; where none does, it writes nothing and raises the refusal.

    Args:
        source: The encoder, and how it is to be written.
        formats: Names of `FORMATS`.
        out: The folder to make.
        checks: What decides whether a file may leave.
        data_licence: What the model card says of the licence of the training data.
    """
    check_formats(formats, source)
    protocols = checks.protocols
    if not isinstance(protocols, Mapping):
        protocols = build_protocols(protocols)
    made_from = {
        "encoder": source.encoder.fingerprint,
        "formats": sorted(formats),
        "flip_and_add": source.flip,
        "calibration": source.calibration.fingerprint if source.calibration else None,
        "old": checks.old.fingerprint if checks.old else None,
        "protocols": {spec: protocol.made_from() for spec, protocol in protocols.items()},
        "max_loss": checks.max_loss,
        "allow_loss": checks.allow_loss,
        "decide_by": list(checks.rule.decide_by),
        "margin": checks.rule.margin,
        "strict": checks.strict,
        "data_licence": data_licence,
    }
    with artefacts.making(out, EXPORT_KIND, made_from) as folder:
        if folder:
            gate = Gate(
                dict(protocols), checks.old, Reference(source), checks.max_loss, checks.rule
            )
            check_encoder(gate, checks)
            facts = Writing(source, gate, checks, folder).write_all(formats, data_licence)
            artefacts.write_manifest(folder, EXPORT_KIND, made_from, **facts)
    return read_exported(out)


def check_formats(formats: list[str], source: Source) -> None:
    unknown = sorted(set(formats) - FORMATS.keys())
    if unknown or not formats:
        given = option("formats", ",".join(formats))
        raise InputError(f"{given}: known formats are {', '.join(FORMATS)}")
    if not source.calibration and any(FORMATS[name].needs_calibration for name in formats):
        images = "a data set of images like those that it will see"
        raise InputError(f"tflite_int8 needs {option('calibration')}: {images}")


def read_exported(out: Path) -> Exported:
    """Returns what the folder's manifest says was written."""
    manifest = artefacts.read_manifest(out, EXPORT_KIND)
    lines = {}
    try:
        for name, facts in manifest["files"].items():
            path = out / FORMATS[name].file
            lines[name] = line(f"{path}: {described(facts)}")
        # Older versions wrote all or nothing, and no verdict.
        return Exported(lines, dict(manifest.get("refused", {})), manifest.get("verdict"))
    except (KeyError, TypeError, ValueError, AttributeError):
        damaged = out / artefacts.MANIFEST
        raise InputError(f"{damaged} is damaged; remove {out} and export again") from None


def check_encoder(gate: Gate, checks: Checks) -> None:
    """Refuses an encoder that is not compatible, for none of its files can be; with `strict` an
    undecided one too.
    """
    found = gate.verdict()
    if not found or checks.allow_loss or found.word == COMPATIBLE:
        return
    if found.word == UNDECIDED and not checks.strict:
        return
    if found.word == UNDECIDED:
        helps = (
            f"more identities in {option('protocol')}; without {option('strict', True)} it is "
            "exported with that word on its card"
        )
    else:
        helps = (
            "most first: more identities to train on, more epochs, another method"
            " (gallerycontrast, or l2, which stays closest to the old encoder);"
            f" {option('allow_loss', True)} exports it all the same"
        )
    refused = f"nothing is exported: the encoder itself is {found.sentence}"
    raise InputError(refused, f"what helps: {helps}")


@dataclass(frozen=True)
class Writing:
    """Writes the files of one export into its folder."""

    source: Source
    gate: Gate
    checks: Checks
    folder: Path

    def write_all(self, formats: list[str], data_licence: str) -> dict[str, Any]:
        """Writes each format that passes, gate.json and the card; returns what the manifest says of
        them.
        """
        files, refused = {}, {}
        for name in formats:
            form = FORMATS[name]
            try:
                files[name] = self.write(form, name)
            except RefusedError as error:
                refused[name] = str(error)
                remove(self.folder / form.file)
                self.gate.remove(name)
        if not files:
            raise Exported(files, refused).refusal() or RefusedError("nothing was asked for")
        verdict = self.gate.verdict()
        card = model_card.Card(
            source=self.source,
            old=self.checks.old,
            verdict=verdict.sentence if verdict else None,
            files=files,
            refused=refused,
            results=self.gate.results(),
            data_licence=data_licence,
        )
        facts = {"verdict": card.verdict, "files": files, "refused": refused}
        gate_facts = facts | {"protocols": card.results}
        (self.folder / "gate.json").write_text(json.dumps(gate_facts, indent=1) + "\n")
        (self.folder / "MODEL_CARD.md").write_text(card.text())
        return facts | {"served_name": self.source.served_name}

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
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_closeness(form: Format, name: str, found: Closeness) -> None:
    """Raises where the file is further from its encoder than its format allows."""
    largest, smallest = form.largest_difference, form.smallest_cosine
    if largest is not None and not found.difference <= largest:
        differs = f"{name} differs from its encoder by {found.difference:.2e}"
        raise RefusedError(f"{differs}, more than {largest:.0e}")
    if smallest is not None and not found.cosine >= smallest:
        raise RefusedError(
            f"{name}: cosine {found.cosine:.6f} with its encoder, less than {smallest}"
        )
    if not np.isfinite(found.difference):
        raise RefusedError(f"{name} gives no finite embedding")


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def described(facts: dict[str, Any]) -> str:
    """Returns what is told of a file that was written."""
    text = f"{facts['bytes'] / 1e6:.2f} MB, within {facts['difference']:.1e} of the encoder"
    losses = facts["losses"]
    if losses:
        worst = max(losses, key=losses.get)
        text += f", loses at most {max(losses[worst], 0):.2%} ({worst})"
        for doubt in facts.get("doubts", []):
            text += f"; {doubt}"
    else:
        text += f", not evaluated: no {option('protocol')}"
    if facts["kept_float"]:
        text += f"; {facts['kept_float']:.0%} of its operations kept in float"
    return text


def keras_encoder(path: str | Path) -> KerasEncoder:
    encoder = load_encoder(path)
    if not isinstance(encoder, KerasEncoder):
        raise InputError(f"{path}: only a run's folder or a .keras file can be exported")
    return encoder
