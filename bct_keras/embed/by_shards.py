"""The embeddings of a data set for those who keep none beside it, shard by shard on any engine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import field_path
from bct_keras.embed.embedded import ShardEmbedder, ShardPieces
from bct_keras.encoders import Encoder
from bct_keras.engines import RESULTS, Engine, Job
from bct_keras.untrusted.arrays import load_array


def embeddings_by(engine: Engine, encoder: Encoder, data: DataSet, beside: Path) -> np.ndarray:
    """Returns the embeddings of all images, in stored order [records, dims].

    Args:
        engine: What embeds the shards.
        encoder: Every process loads it by its name.
        data: Every process reads it in its place.
        beside: A folder that all processes see; what a killed command leaves there is taken up.
    """
    name = artefacts.fingerprint([encoder.fingerprint, data.fingerprint])
    with work_folder(beside, name) as folder:
        engine.run(
            Job(
                what=f"embedding {data.folder}",
                worker=ShardEmbedder(encoder, data, folder, check=False),
                pieces=ShardPieces(data.shards),
                results=folder / RESULTS,
                forks=False,
            )
        )
        found = [load_array(field_path(folder, shard, "old_embedding")) for shard in data.shards]
        return np.concatenate(found)


@contextlib.contextmanager
def work_folder(beside: Path, name: str) -> Iterator[Path]:
    """Yields a folder for the shards' embeddings, which is removed when they have been read."""
    if stores.is_remote(beside):
        yield beside / f".{name}"
        stores.remove_folder(beside / f".{name}")
        return
    with artefacts.locked_partial(beside / name) as partial:
        yield partial
        stores.remove_folder(partial)
