"""Writes an encoder in several formats, and lets out only files that are as good as itself."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.data import around
from bct_keras.encoders import EXPORT_KIND, KerasEncoder, TwoOutputs, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.export.checks import Checks, Exported
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.format import Reference, Source
from bct_keras.export.gate import Gate
from bct_keras.export.writing import Writing
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED
from bct_keras.printable import DATA, GALLERY, command_line, line
from bct_keras.progress import Outcome


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
                protocols=dict(protocols),
                old=checks.old,
                encoder=Reference(source),
                max_loss=checks.max_loss,
                rule=checks.rule,
            )
            check_encoder(gate, checks)
            facts = Writing(source, gate, checks, folder).write_all(formats, data_licence)
            artefacts.write_manifest(folder, EXPORT_KIND, made_from, **facts)
    return read_exported(out)


def outcome(
    exported: Exported, out: Path, old: str | None = None, protocols: Iterable[str] = ()
) -> Outcome:
    """Returns what is told of the files, and the command that takes one of them on.

    Args:
        exported: What was written.
        out: The folder.
        old: The old encoder, as a flag names it; None where there is none.
        protocols: What the files were measured by.
    """
    facts = {"out": out, **exported.facts()}
    if not exported.files:
        return Outcome(str(exported), facts)
    name = "tflite" if "tflite" in exported.files else next(iter(exported.files))
    file = str(out / FORMATS[name].file)
    if old:
        # A gallery takes queries of the file by a report on the file.
        flags = {
            "new": file,
            "old": old,
            "protocol": list(protocols) or f"retrieval({DATA})",
            "out": f"reports/{name}",
        }
        return Outcome(str(exported), facts, [" ".join(command_line("evaluate", flags))])
    measured = around.measured_by(protocols)
    whole = str(around.whole_of(measured)) if measured else DATA
    flags = {"gallery": GALLERY, "data": whole, "encoder": file}
    return Outcome(str(exported), facts, [" ".join(command_line("gallery add", flags))])


def check_formats(formats: list[str], source: Source) -> None:
    """Raises where a format is not known, or cannot be written from what is given."""
    unknown = set(formats) - FORMATS.keys()
    if unknown or not formats:
        given = option("formats", ",".join(formats))
        known = ", ".join(FORMATS)
        raise InputError(f"{given}: known formats are {known}")
    if source.calibration:
        return
    for name in formats:
        if FORMATS[name].needs_calibration:
            images = "a data set of images like those that it will see"
            raise InputError(f"{name} needs {option('calibration')}: {images}")


def read_exported(out: Path) -> Exported:
    """Returns what the folder's manifest says was written."""
    manifest = artefacts.read_manifest(out, EXPORT_KIND)
    lines = {}
    try:
        for name, facts in manifest["files"].items():
            path = out / FORMATS[name].file
            lines[name] = line(f"{path}: {described(facts)}")
        # Older versions wrote all or nothing, and no verdict.
        return Exported(
            files=lines,
            refused=dict(manifest.get("refused", {})),
            verdict=manifest.get("verdict"),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        damaged = out / artefacts.MANIFEST
        raise InputError(f"{damaged} is damaged; remove {out} and export again") from None


def check_encoder(gate: Gate, checks: Checks) -> None:
    """Refuses an encoder that is not compatible, for none of its files can be.

    With `strict` it refuses an undecided one too.
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
            "most first: more identities to train on, more epochs, a method that stays closer to "
            "the old encoder (l2 stays closest); "
            f"{option('allow_loss', True)} exports it all the same"
        )
    refused = f"nothing is exported: the encoder itself is {found.sentence}"
    raise InputError(refused, f"what helps: {helps}")


def described(facts: dict[str, Any]) -> str:
    """Returns what is told of a file that was written."""
    megabytes = facts["bytes"] / 1e6
    text = f"{megabytes:.2f} MB, within {facts['difference']:.1e} of the encoder"
    losses = facts["losses"]
    kept_float = facts["kept_float"]
    if losses:
        worst = max(losses, key=losses.get)
        loss = max(losses[worst], 0)
        text += f", loses at most {loss:.2%} ({worst})"
        for doubt in facts.get("doubts", []):
            text += f"; {doubt}"
    else:
        text += f", not evaluated: no {option('protocol')}"
    if kept_float:
        text += f"; {kept_float:.0%} of its operations kept in float"
    return text


def keras_encoder(path: str | Path) -> KerasEncoder:
    """Loads an encoder that can be exported; of one with two outputs the file that has both."""
    encoder = load_encoder(path)
    file = encoder.whole if isinstance(encoder, TwoOutputs) else encoder
    if not isinstance(file, KerasEncoder):
        raise InputError(
            f"{path}: only a run's folder or a .keras file can be exported, or a folder that "
            "`adapt` has made"
        )
    return file
