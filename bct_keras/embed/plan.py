"""What an embedding would take, for any number of images and machines, by what is measured here."""

import itertools
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts, stores
from bct_keras.artefacts.tables import LARGEST_TABLE, row_bytes
from bct_keras.data.dataset import DataSet
from bct_keras.data.embedding_files import COLUMNS
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.prepare.writing import RECORDS_PER_SHARD

BATCHES_TRIED = 8  # after the first, in which the network is compiled
# Of a shard, in the process that divides the work and commits: tests/speed/many_shards.py.
DRIVER_BYTES_A_SHARD = 400
# Of a store, for each shard: tests/stores/faults_test.py counts them.
REQUESTS_A_SHARD = 13
GIGABYTE = 1e9
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Measured:
    """What was measured on this machine."""

    images: int
    per_second: float
    memory: int  # bytes of this process


@dataclass(frozen=True)
class Limit:
    """Something that goes no further."""

    images: float
    what: str


@dataclass(frozen=True)
class EmbedPlan:
    """What it takes to embed so many images like those of a data set.

    Args:
        data: The data set; it may be a small part of what is meant.
        dims: Of the embeddings.
        images: How many there are to be.
        nodes: How many machines like this one.
        measured: The rate and the memory of this machine.
        in_store: Whether the data set or the embeddings lie in a store.
    """

    data: DataSet
    dims: int
    images: float
    nodes: int
    measured: Measured
    in_store: bool

    @property
    def shards(self) -> float:
        """Returns how many shards there are."""
        return max(self.images / self.images_a_shard, 1.0)

    @property
    def images_a_shard(self) -> float:
        """Returns how many images a shard has; a full one, where other images are meant."""
        if self.images == self.data.records:
            return self.data.records / len(self.data.shards)
        return min(self.images, RECORDS_PER_SHARD)

    @property
    def hours(self) -> float:
        """Returns how long the embedding takes."""
        machines = at_work(self.nodes, self.shards)
        return self.images / self.measured.per_second / machines / SECONDS_AN_HOUR

    @property
    def bytes_read(self) -> float:
        """Returns the bytes of all image shards."""
        of_data = int(self.data.shards.rows["bytes"].sum())
        return of_data / self.data.records * self.images

    @property
    def bytes_written(self) -> float:
        """Returns the bytes of both fields: embeddings and labels."""
        return (self.dims * 4 + 8) * self.images

    @property
    def commit_memory(self) -> float:
        """Returns how many bytes the process takes that commits."""
        return self.measured.memory + DRIVER_BYTES_A_SHARD * self.shards

    def limits(self) -> list[Limit]:
        """Returns what goes no further, the first first."""
        name_bytes = self.data.shards.rows["name"].dtype.itemsize
        table = Limit(
            LARGEST_TABLE / row_bytes(name_bytes, COLUMNS) * self.images_a_shard,
            f"the table of the shards has more than {LARGEST_TABLE:,} bytes, which no command "
            "reads: embed several data sets",
        )
        free = memory_of_machine() - self.measured.memory
        memory = Limit(
            free / DRIVER_BYTES_A_SHARD * self.images_a_shard,
            f"the commit takes all memory of a machine like this ({in_gigabytes(free)} are free)",
        )
        return sorted([table, memory], key=lambda limit: limit.images)

    def facts(self) -> dict[str, Any]:
        """Returns the same as `lines`, for programs."""
        breaks_at, *_ = self.limits()
        return {
            "images": self.images,
            "nodes": self.nodes,
            "images_per_second": self.measured.per_second,
            "images_tried": self.measured.images,
            "hours": self.hours,
            "shards": self.shards,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "requests": self.shards * REQUESTS_A_SHARD if self.in_store else 0,
            "memory": self.measured.memory,
            "commit_memory": self.commit_memory,
            "breaks_at": {"images": breaks_at.images, "because": breaks_at.what},
        }

    def lines(self) -> list[str]:
        """Returns what is told of it."""
        rate = f"{self.measured.per_second:,.0f} images a second, {self.measured.images:,} tried"
        told = [
            f"{self.images:,.0f} images on {self.nodes:,} machines like this one ({rate})",
            f"time: {self.hours:,.2f} hours, and the commit",
            f"read: {in_gigabytes(self.bytes_read)} in {self.shards:,.0f} shards",
            f"written: {in_gigabytes(self.bytes_written)}",
            f"memory: {in_gigabytes(self.measured.memory)} a machine, "
            f"{in_gigabytes(self.commit_memory)} where it is committed",
        ]
        if self.in_store:
            requests = self.shards * REQUESTS_A_SHARD
            told.insert(4, f"requests to the store: about {requests:,.0f}")
        first, *_ = self.limits()
        where = "breaks" if first.images < self.images else "would break first"
        told.append(f"{where} at {first.images:,.0f} images: {first.what}")
        return told


def plan(encoder: Encoder, data: DataSet, out: Path, images: float, nodes: int) -> EmbedPlan:
    """Returns what it takes to embed so many images like those of a data set; 0 is just those."""
    if nodes < 1:
        raise InputError(f"{nodes} machines embed nothing; at least one is needed")
    artefacts.check_place(out, "embeddings")
    in_store = stores.is_remote(data.folder) or stores.is_remote(out)
    return EmbedPlan(
        data=data,
        dims=encoder.dims,
        images=images or data.records,
        nodes=nodes,
        measured=measured(encoder, data),
        in_store=in_store,
    )


def at_work(nodes: int, shards: float) -> float:
    """Returns how many of so many machines have something to do: none embeds less than a shard."""
    return min(nodes, max(shards, 1.0))


def measured(encoder: Encoder, data: DataSet) -> Measured:
    """Returns the rate of reading, decoding and embedding together, by the first images."""
    seconds = []
    counts = []
    begun = time.perf_counter()
    for found, _ in itertools.islice(encoder.embed_data(data, data.shards[:1]), 1 + BATCHES_TRIED):
        now = time.perf_counter()
        seconds.append(now - begun)
        counts.append(len(found))
        begun = now
    if len(counts) > 1:  # the first is slow
        seconds, counts = seconds[1:], counts[1:]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rate = float(np.sum(counts) / max(np.sum(seconds), 1e-9))
    return Measured(images=sum(counts), per_second=rate, memory=memory)


def memory_of_machine() -> int:
    """Returns the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def in_gigabytes(size: float) -> str:
    """Returns a size as people read it."""
    return f"{size / GIGABYTE:,.2f} GB"
