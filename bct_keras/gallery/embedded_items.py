"""A data set's embeddings that are found by their ids, as a backfill finds images."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from bct_keras import artefacts
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import KIND, field_path, open_embeddings
from bct_keras.data.images_by_id import whole
from bct_keras.embed.run import embed_and_tell
from bct_keras.encoders import DerivedEncoder, Encoder, load_encoder
from bct_keras.engines import Engine
from bct_keras.errors import InputError
from bct_keras.progress import Say
from bct_keras.untrusted.arrays import open_array

OPEN_FILES = 64  # at a time, of which a process may not have thousands


class EmbeddedItems:
    """The embeddings that `embed` has kept, by the ids of their images.

    Args:
        folder: What `embed` has made.
        data: The data set that it was made of.
        embedder: The encoder that has to have made it; a gallery may hold fewer dimensions.
    """

    def __init__(self, folder: Path, data: DataSet, embedder: Encoder):
        shards = open_embeddings(folder, data)
        made_by = artefacts.read_manifest(folder, KIND)["made_from"].get("encoder")
        if made_by != embedder.fingerprint:
            raise InputError(
                f"{folder} holds embeddings of another encoder than {embedder.spec}; embed with "
                "this one, or give that one"
            )
        self.embedder = embedder
        self.is_part = isinstance(embedder, DerivedEncoder) and embedder.dims != shards.dims
        self.files: list[Path] = []
        self.stored = lru_cache(OPEN_FILES)(open_array)
        self.place: dict[str, tuple[int, int]] = {}  # shard and row of each id
        for number, shard in enumerate(data.shards):
            self.files.append(field_path(shards.folder, shard, "old_embedding"))
            for row, record in enumerate(whole(shard.here)):
                self.place[record.id] = (number, row)

    def __contains__(self, ident: object) -> bool:
        return ident in self.place

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        """Returns the embeddings of ids [ids, dims]."""
        rows = []
        for ident in ids:
            number, row = self.place[ident]
            rows.append(self.stored(self.files[number])[row])
        found = np.stack(rows)
        if self.is_part:
            assert isinstance(self.embedder, DerivedEncoder)
            return self.embedder.derive(found)
        return found


def embedded_by(engine: Engine, encoder: str | Path, data: DataSet, say: Say) -> Path:
    """Embeds a data set by an engine, beside it; returns the folder, which stays there.

    After a kill the same command goes on with the shards that are left.
    """
    whole_encoder = load_encoder(encoder)
    name = f"{data.folder.name}-by-{whole_encoder.fingerprint[:12]}"
    folder = data.folder.with_name(name)
    say(embed_and_tell(whole_encoder, data, folder, say, engine=engine))
    return folder
