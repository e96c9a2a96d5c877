"""Embeddings of more shards than a process may have open files."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import EmbeddingShards, field_path
from bct_keras.data.shard_list import shards_in
from bct_keras.data.shards import Shard
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.embed.credible import credible

SHARDS, RECORDS, CLASSES, DIMS = 120, 2, 4, 3


@pytest.fixture
def few_open_files():
    """Lets this process open 40 files more than it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(number) for number in os.listdir("/proc/self/fd")}
    free = [number for number in range(before[0]) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[40], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def embedded(tmp_path) -> EmbeddingShards:
    """Labels and old embeddings of each shard; the images are not asked for."""
    random = np.random.default_rng(0)
    shards = []
    for number in range(SHARDS):
        path = Path(f"all-{number:03}.tfrecord")
        shard = Shard(path=path, records=RECORDS, bytes=100, sha256=f"{number:064}")
        labels = random.integers(0, CLASSES, RECORDS)
        labels[0] = number % CLASSES
        np.save(field_path(tmp_path, shard, "label"), labels)
        old = random.normal(size=(RECORDS, DIMS)).astype(np.float32)
        np.save(field_path(tmp_path, shard, "old_embedding"), old)
        shards.append(shard)
    data = DataSet(
        folder=tmp_path,
        shards=shards_in(tmp_path, shards),
        classes=CLASSES,
        first_identity=0,
        image_size=28,
        same_size=True,
    )
    return EmbeddingShards(folder=tmp_path, data=data, dims=DIMS, fingerprint="x")


def test_they_are_read(embedded, few_open_files):
    marks = credible(embedded)
    assert {rows.shape for rows in marks.values()} == {(SHARDS * RECORDS,)}
    assert len(marks) == 2  # credible in two ways
    assert len(StoredOldEmbeddings(embedded).labels) == SHARDS * RECORDS
    rows = list(embedded.stream("old_embedding", tf.constant(SHARDS - 1)))
    assert len(rows) == RECORDS
