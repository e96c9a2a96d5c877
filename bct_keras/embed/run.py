"""Embeds a data set: one embedding shard beside each image shard.

A shard holds embeddings, labels and which rows are credible, that is, near their class's mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.data import embeddings
from bct_keras.data.dataset import DataSet, Shard, open_data_set
from bct_keras.data.embeddings import field_path, open_embeddings
from bct_keras.embed.by_class import map_classes
from bct_keras.encoders import Encoder, load_encoder, trial
from bct_keras.engines import (
    RESULTS,
    Crew,
    Engine,
    Job,
    Made,
    Part,
    Piece,
    Report,
    Result,
    make,
)
from bct_keras.errors import InputError
from bct_keras.methods import class_features
from bct_keras.methods.class_blocks import Block
from bct_keras.progress import Say
from bct_keras.untrusted.arrays import open_array


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
    return told(out, make(out, EmbeddedData(encoder, data), engine, part), encoder, data, part)


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
) -> None:
    """Embeds a data set, and says what is done.

    That is what pixels the encoder gets, what is there now, and what looks wrong with it.
    """
    for line in trial.told(encoder):
        say(line)
    if not out.exists():
        for warning in trial.before(encoder, data):
            say(warning)
    made = make(out, EmbeddedData(encoder, data), engine, part)
    say(told(out, made, encoder, data, part))
    if made.state == "part":
        return
    shards = open_embeddings(out, data)
    for warning in trial.after_shards(encoder.spec, shards):
        say(warning)


class EmbeddedData:
    """The embeddings of a data set's images, as they are made shard by shard."""

    kind = embeddings.KIND

    def __init__(self, encoder: Encoder, data: DataSet):
        self.encoder = encoder
        self.data = data
        self.made_from = {
            "data": data.fingerprint,
            "encoder": encoder.fingerprint,
            "credible_share": class_features.CREDIBLE_SHARE,
            "credible": sorted(class_features.CREDIBLE),
        }

    def check_before(self) -> None:
        """Raises where a shard is not as it was made."""
        self.data.check_content()

    def plan(self, folder: Path, crew: Crew) -> Job:
        """Returns the job that embeds each shard."""
        pieces = []
        for shard in self.data.shards:
            pieces.append(Piece(name=shard.name, size=shard.records, content=shard))
        return Job(
            what=f"embedding {self.data.folder}",
            worker=ShardEmbedder(self.encoder, self.data, folder, crew.looks_at_each_piece),
            pieces=pieces,
            results=folder / RESULTS,
            forks=False,
        )

    def commit(self, folder: Path, results: list[Result]) -> None:
        """Writes which embeddings are credible, and the manifest."""
        artefacts.remove_unplaced(folder)
        files = {}
        for result in results:
            files |= result["files"]
        files |= write_credible(self.data, folder)
        artefacts.write_manifest(
            folder,
            embeddings.KIND,
            self.made_from,
            dims=self.encoder.dims,
            encoder=place_of(self.encoder),
            encoder_spec=self.encoder.spec,
            data_folder=str(self.data.folder),
            files=files,
        )


def place_of(encoder: Encoder) -> str:
    """Returns where an encoder lies: in its store, and not where this machine has a copy."""
    return encoder.spec if stores.is_remote(encoder.spec) else str(encoder.path)


@dataclass(frozen=True)
class ShardEmbedder:
    """Embeds shards."""

    encoder: Encoder
    data: DataSet
    folder: Path
    check: bool  # whether each shard is to be looked at before it is embedded

    def opener(self) -> Callable[[], "ShardEmbedder"]:
        """Returns what loads the encoder again."""
        known = Known(self.encoder.spec, self.encoder.fingerprint)
        return partial(reopened, known, self.data.folder, self.folder, self.check)

    def do(self, piece: Piece, report: Report) -> Result:
        """Writes the embeddings and the labels of a shard."""
        shard: Shard = piece.content
        if self.check:
            shard.check_content()
        found = []
        labels = []
        for batch_embeddings, batch in self.encoder.embed_data(self.data, (shard,)):
            found.append(batch_embeddings)
            labels.append(batch["label"].numpy())
            report(len(batch_embeddings))
        stores.forget(shard.path)  # a data set may be larger than this machine's disk
        return {
            "files": {
                **write_array(field_path(self.folder, shard, "old_embedding"), found),
                **write_array(field_path(self.folder, shard, "label"), labels),
            }
        }

    def is_whole(self, piece: Piece, result: Result) -> bool:
        """Tells whether the files of a shard are as an earlier command has written them."""
        for name, sha256 in result["files"].items():
            path = self.folder / name
            if stores.size_of(path) is None or artefacts.file_sha256(path) != sha256:
                return False
        return True


@dataclass(frozen=True)
class Known:
    """An encoder as other processes find it."""

    spec: str
    fingerprint: str


def reopened(known: Known, data_folder: Path, folder: Path, check: bool) -> ShardEmbedder:
    """Returns the embedder in another process; raises where another encoder is found there."""
    encoder = load_encoder(known.spec)
    if encoder.fingerprint != known.fingerprint:
        raise InputError(
            f"{known.spec}: another encoder is found from another machine or process than where "
            "the command was started; give a place that all of them see alike"
        )
    return ShardEmbedder(encoder, open_data_set(data_folder), folder, check)


def write_array(path: Path, batches: list[np.ndarray]) -> dict[str, str]:
    """Writes the rows of all batches; returns the file's name with its sha256."""
    with artefacts.placing(path) as beside:
        with beside.open("wb") as file:
            np.save(file, np.concatenate(batches))
        return {path.name: artefacts.file_sha256(beside)}


def write_credible(data: DataSet, folder: Path) -> dict[str, str]:
    """Writes which rows are credible, and returns the sha256 of each file.

    It is told by both ways: they cost less than to ask for one.
    """
    old_files = []
    label_batches = []
    for shard in data.shards:
        old_files.append(field_path(folder, shard, "old_embedding"))
        label_batches.append(open_array(field_path(folder, shard, "label")))
    labels = data.checked_labels(label_batches)
    norms = {"rows": None, "rows_then_columns": column_norms(old_files)}
    credible = {name: np.zeros(len(labels), np.float32) for name in norms}

    def find(block: Block) -> dict[str, np.ndarray]:
        (old,) = block.embeddings
        found = {}
        for name, norm in norms.items():
            found[name] = class_features.credible(old, class_features.CREDIBLE_SHARE, norm)
        return found

    for block, found in map_classes(find, labels, [old_files], "credible embeddings"):
        for name, rows in found.items():
            credible[name][block.records] = rows
    files = {}
    for name, field in class_features.CREDIBLE.items():
        files |= write_by_shards(data, folder, field, credible[name])
    return files


def write_by_shards(data: DataSet, folder: Path, field: str, values: np.ndarray) -> dict[str, str]:
    """Writes a field's values, [records], in a file for each shard; returns their sha256."""
    files = {}
    first = 0
    for shard in data.shards:
        end = first + shard.records
        files |= write_array(field_path(folder, shard, field), [values[first:end]])
        first = end
    return files


def column_norms(files: list[Path]) -> np.ndarray:
    """Returns the norm of each dimension over the normalised embeddings of all files, [dims]."""
    pieces = (open_array(path) for path in files)
    return class_features.column_norms(pieces)
