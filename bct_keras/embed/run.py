"""Embeds a data set: one embedding shard beside each image shard.

It holds the embeddings and the labels.
"""

from pathlib import Path

from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed.embedded import EmbeddedData
from bct_keras.encoders import Encoder, trial
from bct_keras.engines import (
    Engine,
    Made,
    Part,
    make,
)
from bct_keras.printable import GALLERY, command_line
from bct_keras.progress import Outcome, Say


def embed(
    encoder: Encoder,
    data: DataSet,
    out: Path,
    engine: Engine | None = None,
    part: Part | None = None,
) -> str:
    """Embeds a data set, where that is not done yet; returns one line that says what is there.

    Args:
        encoder: What embeds.
        data: The data set.
        out: The folder to make.
        engine: What does the work; by default this process alone.
        part: The part of the work to do, where others do the other parts; None is all.
    """
    return told(out, make(out, EmbeddedData(encoder, data, out), engine, part), encoder, data, part)


def told(out: Path, made: Made, encoder: Encoder, data: DataSet, part: Part | None) -> str:
    """Returns one line that says what is there."""
    said = made.told(out, part)
    if made.state == "part":
        return said
    return f"{said}: {data.records:,} embeddings of {encoder.dims} dimensions"


def embed_and_tell(
    encoder: Encoder,
    data: DataSet,
    out: Path,
    say: Say,
    engine: Engine | None = None,
    part: Part | None = None,
) -> str:
    """Embeds a data set; returns one line that says what is there.

    Before that it says what pixels the encoder gets, and what looks wrong with it.
    """
    for line in trial.told(encoder):
        say(line)
    if not out.exists():
        for warning in trial.before(encoder, data):
            say(warning)
    made = make(out, EmbeddedData(encoder, data, out), engine, part)
    if made.state in ("there", "mended"):
        open_embeddings(out, data)  # raises where a file was changed since
    if made.state != "part":
        for warning in trial.after_shards(encoder.spec, out, data):
            say(warning)
    return told(out, made, encoder, data, part)


def outcome(said: str, encoder: Encoder, data: DataSet, out: Path) -> Outcome:
    """Returns what is told of the embeddings of a data set, of which there may be a part alone.

    Args:
        said: What `embed_and_tell` returns.
        encoder: What has made them.
        data: The images.
        out: Their folder.
    """
    facts = {"out": out, "embeddings": data.records, "dims": encoder.dims}
    facts["encoder"] = encoder.fingerprint
    flags = {
        "gallery": GALLERY,
        "data": str(data.folder),
        "embeddings": str(out),
    }
    return Outcome(said, facts, [" ".join(command_line("gallery add", flags))])
