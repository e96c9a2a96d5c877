"""The embeddings of a data set as they are made: shard by shard, then what is about all."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bct_keras import artefacts, stores
from bct_keras.data import embeddings
from bct_keras.data.dataset import DataSet, Shard, open_data_set
from bct_keras.data.embeddings import field_path
from bct_keras.embed.credible import write_array, write_credible
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.engines import (
    RESULTS,
    Crew,
    Job,
    Piece,
    Report,
    Result,
)
from bct_keras.errors import InputError
from bct_keras.methods import class_features
from bct_keras.untrusted.json_files import field


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
        if stores.size_of(folder / artefacts.MANIFEST) is not None:
            return
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

    def lost(self, out: Path) -> list[str]:
        """Returns the files that the manifest names and that are gone."""
        files = stored_files(out, self.made_from)
        there = set(stores.names_in(out)) if files else set()
        return sorted(files.keys() - there)

    def results_of(self, out: Path) -> dict[str, Result]:
        """Returns the files of each shard with their sha256, as the manifest tells them."""
        files = stored_files(out, self.made_from)
        found = {}
        for shard in self.data.shards:
            names = [field_path(out, shard, each).name for each in ("old_embedding", "label")]
            found[shard.name] = {"files": {name: files.get(name) for name in names}}
        return found

    def is_same(self, found: Result, expected: Result) -> bool:
        """Tells whether a shard that was embedded again has the same embeddings."""
        return found == expected

    def is_there(self, out: Path, result: Result) -> bool:
        """Tells whether the files of a shard are there."""
        return all(stores.size_of(out / name) is not None for name in result["files"])


def stored_files(out: Path, made_from: dict[str, Any]) -> dict[str, str]:
    """Returns the sha256 of each file of embeddings that were made of just this; none elsewhere."""
    if stores.size_of(out / artefacts.MANIFEST) is None:
        return {}
    try:
        manifest = artefacts.read_manifest(out, embeddings.KIND)
        files = field(manifest, "files", dict, out / artefacts.MANIFEST)
    except InputError:  # others tell what is wrong with it
        return {}
    return files if manifest["made_from"] == made_from else {}


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
