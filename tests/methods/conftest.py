"""Makes old embeddings as a run stores them, once for all tests of methods."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.train import old_head

sys.path.insert(0, str(Path(__file__).parent))
from prepared import DIMS


@pytest.fixture(scope="session")
def stored(data_root, tiny_encoder_path, tmp_path_factory) -> StoredOldEmbeddings:
    """Returns 36 images of 6 classes, embedded by an encoder whose head lies beside it."""
    data, path = open_data_set(data_root / "new"), tiny_encoder_path(DIMS)
    np.savez(
        path.parent / "head.npz",
        class_weights=np.eye(3, DIMS, dtype=np.float32),
        bias=np.array([0, 1, 2], np.float32),
    )
    folder = tmp_path_factory.mktemp("prepared") / "new-by-old"
    embed(load_encoder(path), data, folder)
    return old_head.source(open_embeddings(folder, data))


@pytest.fixture(scope="session")
def old(stored) -> np.ndarray:
    """Returns the old embeddings [36, dims], in the order of the shards."""
    return np.concatenate([np.load(path) for path in stored.files("old_embedding")])


@pytest.fixture(scope="session")
def labels(stored) -> np.ndarray:
    """Returns the label of each [36]."""
    return stored.labels
