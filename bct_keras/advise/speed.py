"""Measures here how fast encoders and maps are: one query at a time, and many at once."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from bct_keras.adapt.pairs import first_batches
from bct_keras.adapters import Adapter
from bct_keras.advise.candidates import Route
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import DerivedEncoder, Encoder
from bct_keras.encoders.encoder import BATCH_SIZE
from bct_keras.encoders.stored import StoredEmbeddings

WARM_UP, TIMED = 3, 21  # calls for one query; the median of the latter counts
IMAGES = 2048  # that are embedded at once, at most
VECTORS = 65536  # that are mapped at once


@dataclass(frozen=True)
class Speed:
    """Says how fast a network, or a map, is on this machine."""

    seconds_a_query: float
    per_second: float  # images or vectors, many at once


@dataclass(frozen=True)
class Speeds:
    """Holds the speed of all that routes are made of; what cannot be measured is missing."""

    networks: dict[str, Speed]  # by the encoder's fingerprint
    maps: dict[int, Speed]  # by the adapter's id

    def of_query(self, route: Route) -> float | None:
        """Returns the seconds from an image to what is searched with; None where not known."""
        seconds = 0.0
        for network in route.networks:
            speed = self.networks.get(network.fingerprint)
            if speed is None:
                return None
            seconds += speed.seconds_a_query
        if route.query_map is not None:
            seconds += self.maps[id(route.query_map)].seconds_a_query
        return seconds

    def images_per_second(self, encoder: Encoder) -> float | None:
        """Returns how many images an encoder embeds in a second; None where not known."""
        speed = self.networks.get(encoder.fingerprint)
        return speed.per_second if speed else None


def measured_speeds(routes: Sequence[Route], data: DataSet | None) -> Speeds:
    """Measures all networks and maps of some routes.

    Args:
        routes: The routes.
        data: Has images to embed; None where there are but stored embeddings.
    """
    networks: dict[str, Speed] = {}
    maps: dict[int, Speed] = {}
    for route in routes:
        for network in route.networks:
            if data and embeds_images(network) and network.fingerprint not in networks:
                networks[network.fingerprint] = speed_of_network(network, data)
        for adapter in (route.query_map, route.gallery_map):
            if adapter is not None and id(adapter) not in maps:
                maps[id(adapter)] = speed_of_map(adapter)
    return Speeds(networks, maps)


def embeds_images(encoder: Encoder) -> bool:
    """Tells whether an encoder can embed an image, and does not only know what was stored."""
    if isinstance(encoder, DerivedEncoder):
        return all(embeds_images(source) for source in encoder.sources)
    return not isinstance(encoder, StoredEmbeddings)


def speed_of_network(encoder: Encoder, data: DataSet) -> Speed:
    """Returns the speed of an encoder on images of a data set, with reading and decoding them."""
    batch = next(iter(encoder.images_of(data)))
    image = batch["image"].numpy()[:1]
    seconds = median_seconds(lambda: encoder.embed(image))

    for _ in first_batches(encoder, data, BATCH_SIZE):
        pass  # what is compiled for a full batch is compiled now
    count = 0
    started = time.perf_counter()
    for embeddings, _ in first_batches(encoder, data, IMAGES):
        count += len(embeddings)
    return Speed(seconds, count / (time.perf_counter() - started))


def speed_of_map(adapter: Adapter) -> Speed:
    """Returns the speed of an adapter on vectors of its source's dimensions."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(VECTORS, adapter.source_dims)).astype(np.float32)
    one = tf.constant(vectors[:1])
    compiled = tf.function(lambda rows: adapter(rows, training=False))
    seconds = median_seconds(lambda: compiled(one).numpy())

    adapter.predict(vectors[: VECTORS // 4], verbose=0)
    started = time.perf_counter()
    adapter.predict(vectors, verbose=0)
    return Speed(seconds, VECTORS / (time.perf_counter() - started))


def median_seconds(call: Callable[[], object]) -> float:
    """Returns the median time of a call, after some that are not counted."""
    for _ in range(WARM_UP):
        call()
    times = []
    for _ in range(TIMED):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def machine() -> str:
    """Returns what the speeds were measured on, in words."""
    graphics = tf.config.list_physical_devices("GPU")
    cores = f"{os.cpu_count()} CPU cores"
    if not graphics:
        return f"{cores}, no GPU"
    return f"{len(graphics)} GPU(s), {cores}"
