"""Writes an encoder in several formats, and lets out only files that search the old gallery as well as it does."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, model_card
from bct_keras.encoders import EXPORT_KIND, Encoder, KerasEncoder, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluation import build_protocols
from bct_keras.evaluation.gate import Gate
from bct_keras.evaluation.protocol import Protocol
from bct_keras.evaluation.verdict import COMPATIBLE, UNDECIDED, Rule
from bct_keras.formats import FORMATS
from bct_keras.formats.format import Format, Reference, Source
from bct_keras.printable import line

COMPARED_IMAGES = 16
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
        """Returns the error that a command ends with where a format that was asked for is not written."""
        if not self.refused:
            return None
        written = f"{', '.join(self.files)} written" if self.files else "nothing is written"
        leave_out = f"leave what is refused out of {option('formats')}"
        helps = f"{written}; {leave_out}, calibrate on more images, or train longer"
        return RefusedError(*self.refused.values(), helps)

    def __str__(self) -> str:
        return "\n".join(
            [*self.files.values(), *([f"exported as {self.verdict}"] if self.verdict else [])]
        )


def export(
    source: Source, formats: list[str], out: Path, checks: Checks, data_licence: str = ""
) -> Exported:
    """Writes those formats that pass; where none does, it writes nothing and raises the refusal."""
    unknown = sorted(set(formats) - FORMATS.keys())
    if unknown or not formats:
        raise InputError(
            f"{option('formats', ','.join(formats))}: known formats are {', '.join(FORMATS)}"
        )
    if not source.calibration and any(FORMATS[name].needs_calibration for name in formats):
        raise InputError(
            f"tflite_int8 needs {option('calibration')}: a data set of images like those that it will see"
        )
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
            gate = Gate(protocols, checks.old, Reference(source), checks.max_loss, checks.rule)
            check_encoder(gate, checks)
            files, refused = write_all(formats, source, gate, checks, folder)
            results = gate.results()
            verdict = found_verdict.sentence if (found_verdict := gate.verdict()) else None
            found = {"verdict": verdict, "files": files, "refused": refused, "protocols": results}
            (folder / "gate.json").write_text(json.dumps(found, indent=1) + "\n")
            card = model_card.written(
                source, checks.old, verdict, files, refused, results, data_licence
            )
            (folder / "MODEL_CARD.md").write_text(card)
            facts = {
                "verdict": verdict,
                "files": files,
                "refused": refused,
                "served_name": source.served_name,
            }
            artefacts.write_manifest(folder, EXPORT_KIND, made_from, **facts)
    manifest = artefacts.read_manifest(out, EXPORT_KIND)
    try:
        files = manifest["files"].items()
        lines = {
            name: line(f"{out / FORMATS[name].file}: {described(facts)}") for name, facts in files
        }
        # Older versions wrote all or nothing, and no verdict.
        return Exported(lines, dict(manifest.get("refused", {})), manifest.get("verdict"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{out / artefacts.MANIFEST} is damaged; remove {out} and export again"
        ) from None


def check_encoder(gate: Gate, checks: Checks) -> None:
    """Refuses an encoder that is not compatible, for none of its files can be; with `strict` an undecided one too."""
    found = gate.verdict()
    if not found or checks.allow_loss or found.word == COMPATIBLE:
        return
    if found.word == UNDECIDED and not checks.strict:
        return
    if found.word == UNDECIDED:
        helps = (
            f"more identities in {option('protocol')}; without {option('strict', True)} it is exported with that "
            "word on its card"
        )
    else:
        helps = (
            "most first: more identities to train on, more epochs, another method (gallerycontrast, or l2, which "
            f"stays closest to the old encoder); {option('allow_loss', True)} exports it all the same"
        )
    raise InputError(
        f"nothing is exported: the encoder itself is {found.sentence}", f"what helps: {helps}"
    )


def write_all(
    formats: list[str], source: Source, gate: Gate, checks: Checks, folder: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Writes each format that passes; returns what is known of those, and why the others were refused."""
    files, refused = {}, {}
    for name in formats:
        try:
            files[name] = write(FORMATS[name], name, source, gate, checks, folder)
        except RefusedError as error:
            refused[name] = str(error)
            remove(folder / FORMATS[name].file)
            gate.remove(name)
    if not files:
        raise Exported(files, refused).refusal() or RefusedError("nothing was asked for")
    return files, refused


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(
    form: Format, name: str, source: Source, gate: Gate, checks: Checks, folder: Path
) -> dict[str, Any]:
    """Writes one file, with more and more of it in float while the gate refuses it; what is known of it."""
    path = folder / form.file
    reference = Reference(source)
    shares = (
        KEPT_FLOAT if form.can_keep_float and checks.protocols and not checks.allow_loss else (0.0,)
    )
    difference = cosine = float("nan")
    faults: list[str] = []
    for share in shares:
        form.write(dataclasses.replace(source, kept_float=share), path)
        difference, cosine = compared(reference, path)
        check_closeness(form, name, difference, cosine)
        encoder = load_encoder(path)
        encoder.cached = False  # nobody asks for it again
        gate.add(name, encoder)
        faults = gate.faults(name)
        if not faults:
            break
    if faults and not checks.allow_loss:
        raise RefusedError(
            f"{name} is refused: {'; '.join(faults)} ({option('max_loss', checks.max_loss)}; "
            f"{option('allow_loss', True)} lets it out as it is)"
        )
    return {
        "file": form.file,
        "bytes": size_of(path),
        "difference": difference,
        "cosine": cosine,
        "kept_float": share,
        "losses": gate.losses(name),
        "faults": faults,
        "doubts": gate.doubts(name),
    }


def compared(reference: Encoder, path: Path) -> tuple[float, float]:
    """The largest difference in a coordinate and the smallest cosine, over random images."""
    shape = (COMPARED_IMAGES, reference.image_size, reference.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found, expected = load_encoder(path).embed(images), reference.embed(images)
    if found.shape[1] < expected.shape[1]:
        expected = expected[:, : found.shape[1]]
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    return float(np.max(np.abs(found - expected))), float(np.min(np.sum(found * expected, axis=1)))


def check_closeness(form: Format, name: str, difference: float, cosine: float) -> None:
    if form.largest_difference is not None and not difference <= form.largest_difference:
        raise RefusedError(
            f"{name} differs from its encoder by {difference:.2e}, more than {form.largest_difference:.0e}"
        )
    if form.smallest_cosine is not None and not cosine >= form.smallest_cosine:
        raise RefusedError(
            f"{name}: cosine {cosine:.6f} with its encoder, less than {form.smallest_cosine}"
        )
    if not np.isfinite(difference):
        raise RefusedError(f"{name} gives no finite embedding")


def size_of(path: Path) -> int:
    return sum(
        file.stat().st_size
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    )


def described(facts: dict[str, Any]) -> str:
    text = f"{facts['bytes'] / 1e6:.2f} MB, within {facts['difference']:.1e} of the encoder"
    if facts["losses"]:
        worst = max(facts["losses"], key=facts["losses"].get)
        text += f", loses at most {max(facts['losses'][worst], 0):.2%} ({worst})"
        text += "".join(f"; {doubt}" for doubt in facts.get("doubts", []))
    else:
        text += f", not evaluated: no {option('protocol')}"
    return text + (
        f"; {facts['kept_float']:.0%} of its operations kept in float"
        if facts["kept_float"]
        else ""
    )


def keras_encoder(path: str | Path) -> KerasEncoder:
    encoder = load_encoder(path)
    if not isinstance(encoder, KerasEncoder):
        raise InputError(f"{path}: only a run's folder or a .keras file can be exported")
    return encoder
