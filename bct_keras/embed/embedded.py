"""The embeddings of a data set as they are made: shard by shard, then what is about all."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.artefacts import tables
from bct_keras.data import embedding_files, embeddings
from bct_keras.data.dataset import DataSet, Shard, open_data_set
from bct_keras.data.embedding_files import EmbeddingFiles
from bct_keras.data.embeddings import field_path
from bct_keras.data.shard_list import Shards
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.engines import RESULTS, Crew, Job, Piece, Pieces, Report, Result
from bct_keras.errors import InputError

BEFORE = ("credible_share", "credible")  # what embeddings of earlier versions were made from too


@dataclass(frozen=True, eq=False)
class ShardPieces(Pieces):
    """A piece for each shard."""

    shards: Shards

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, place: int) -> Piece: ...

    @overload
    def __getitem__(self, place: slice) -> "ShardPieces": ...

    def __getitem__(self, place: int | slice) -> "Piece | ShardPieces":
        if isinstance(place, slice):
            return ShardPieces(self.shards[place])
        return piece_of(self.shards[place])

    def __iter__(self) -> Iterator[Piece]:
        return map(piece_of, self.shards)

    @property
    def size(self) -> int:
        """Returns how many images they have."""
        return self.shards.records


def piece_of(shard: Shard) -> Piece:
    """Returns the work that a shard is."""
    return Piece(name=shard.name, size=shard.records, content=shard)


class EmbeddedData:
    """The embeddings of a data set's images, as they are made shard by shard."""

    kind = embeddings.KIND

    def __init__(self, encoder: Encoder, data: DataSet, out: Path):
        self.encoder = encoder
        self.data = data
        self.made_from = {"data": data.fingerprint, "encoder": encoder.fingerprint}
        self.made_from |= of_earlier_version(out)

    def check_before(self) -> None:
        """Raises where a shard is not as it was made."""
        self.data.check_content()

    def plan(self, folder: Path, crew: Crew) -> Job:
        """Returns the job that embeds each shard."""
        tables.check_size(self.data.shards.names(), embedding_files.COLUMNS)
        return Job(
            what=f"embedding {self.data.folder}",
            worker=ShardEmbedder(self.encoder, self.data, folder, crew.looks_at_each_piece),
            pieces=ShardPieces(self.data.shards),
            results=folder / RESULTS,
            forks=False,
        )

    def commit(self, folder: Path, results: Iterable[tuple[int, Result]]) -> None:
        """Writes the table of all files and the manifest."""
        columns = self.columns_of(folder, results)
        if stores.size_of(folder / artefacts.MANIFEST) is None:
            self.write_manifest(folder, columns)

    def write_manifest(self, folder: Path, columns: dict[str, np.ndarray]) -> None:
        """Writes the table, which has the sha256 of each field's files, and the manifest."""
        names = self.data.shards.rows["name"]
        rows = tables.rows_of(names, embedding_files.COLUMNS, columns)
        artefacts.write_listing(
            folder,
            embeddings.KIND,
            self.made_from,
            dims=self.encoder.dims,
            encoder=place_of(self.encoder),
            encoder_spec=self.encoder.spec,
            data_folder=str(self.data.folder),
            shards=tables.write_table(folder, rows),
        )

    def columns_of(
        self, folder: Path, results: Iterable[tuple[int, Result]]
    ) -> dict[str, np.ndarray]:
        """Returns the sha256 of all files that the results tell of, for each field."""
        count = len(self.data.shards)
        found = {each: tables.Digests(count) for each in embeddings.FIELDS}
        where = folder / RESULTS
        for number, result in results:
            for each, digests in found.items():
                digests.put(number, result.get(each), where)
        return {each: digests.column() for each, digests in found.items()}

    def lost(self, out: Path) -> list[str]:
        """Returns the files that the manifest names and that are gone."""
        if stored_files(out, self.made_from, self.data) is None:
            return []
        names = self.data.shards.names()
        numbers = {name: number for number, name in enumerate(names)}
        there = {each: np.zeros(len(names), bool) for each in embeddings.FIELDS}
        for file in stores.each_name_in(out):
            name, _, each = file.removesuffix(".npy").rpartition(".")
            if name in numbers and each in there:
                there[each][numbers[name]] = True
        found = []
        for each, column in there.items():
            for number in np.flatnonzero(~column).tolist():
                found.append(f"{names[number]}.{each}.npy")
        return sorted(found)

    def results_of(self, out: Path, pieces: Sequence[Piece]) -> Iterator[Result]:
        """Yields the sha256 of the files of each shard, as the manifest tells them."""
        stored = stored_files(out, self.made_from, self.data)
        assert stored is not None, "something was lost of it"
        yield from stored

    def is_same(self, found: Result, expected: Result) -> bool:
        """Tells whether a shard that was embedded again has the same embeddings."""
        return found == expected

    def is_there(self, out: Path, piece: Piece, result: Result) -> bool:
        """Tells whether the files of a shard are there."""
        paths = [field_path(out, piece.content, each) for each in embeddings.FIELDS]
        return all(stores.size_of(path) is not None for path in paths)


def of_earlier_version(out: Path) -> dict[str, Any]:
    """Returns what an earlier version says of its embeddings besides: which are credible."""
    if artefacts.kind_of(out) != embeddings.KIND:
        return {}
    made_from = artefacts.read_manifest(out, embeddings.KIND)["made_from"]
    return {name: made_from[name] for name in BEFORE if name in made_from}


def stored_files(out: Path, made_from: dict[str, Any], data: DataSet) -> EmbeddingFiles | None:
    """Returns the files of embeddings that were made of just this; None where there are none."""
    if stores.size_of(out / artefacts.MANIFEST) is None:
        return None
    try:
        manifest = artefacts.read_manifest(out, embeddings.KIND)
        if manifest["made_from"] != made_from:
            return None
        return embedding_files.files_of(out, manifest, data.shards)
    except InputError:  # others tell what is wrong with it
        return None


def write_array(path: Path, batches: list[np.ndarray]) -> str:
    """Writes the rows of all batches; returns the file's sha256.

    A file that is there already with just these stays.
    """
    rows = np.ascontiguousarray(np.concatenate(batches))
    content = io.BytesIO()
    np.lib.format.write_array(content, rows, version=(1, 0), allow_pickle=False)
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    if stores.size_of(path) is None or artefacts.file_sha256(path) != sha256:
        with artefacts.placing(path) as beside:
            beside.write_bytes(content.getbuffer())
    return sha256


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
        self.data.checked_labels(labels, shard.records)
        stores.forget(shard.path)  # a data set may be larger than this machine's disk
        return {
            "old_embedding": write_array(field_path(self.folder, shard, "old_embedding"), found),
            "label": write_array(field_path(self.folder, shard, "label"), labels),
        }

    def is_whole(self, piece: Piece, result: Result) -> bool:
        """Tells whether the files of a shard are as an earlier command has written them."""
        for each in embeddings.FIELDS:
            path = field_path(self.folder, piece.content, each)
            if stores.size_of(path) is None or artefacts.file_sha256(path) != result.get(each):
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
