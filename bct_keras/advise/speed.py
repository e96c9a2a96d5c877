"""Measures here how fast encoders and maps are: one query at a time, and many at once."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from bct_keras.adapt.pairs import first_batches
from bct_keras.adapters import Adapter
from bct_keras.advise.candidates import Route
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import DerivedEncoder, Encoder
from bct_keras.encoders.stored import StoredEmbeddings

QUERIES, PASSES = 31, 3  # that are timed; their median counts
IMAGES = 1024  # of a pass, at most
VECTORS = 65536  # of a pass


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

    They take turns, so that what else runs here slows all of them and not one.

    Args:
        routes: The routes.
        data: Has images to embed; None where there are but stored embeddings.
    """
    networks: dict[str, Timing] = {}
    maps: dict[int, Timing] = {}
    for route in routes:
        for network in route.networks:
            if data and embeds_images(network) and network.fingerprint not in networks:
                networks[network.fingerprint] = timing_of_network(network, data)
        for adapter in (route.query_map, route.gallery_map):
            if adapter is not None and id(adapter) not in maps:
                maps[id(adapter)] = timing_of_map(adapter)
    every = [*networks.values(), *maps.values()]
    for timing in every:
        timing.warm_up()
    for _ in range(QUERIES):
        for timing in every:
            timing.time_query()
    for _ in range(PASSES):
        for timing in every:
            timing.time_many()
    return Speeds(
        networks={name: timing.speed() for name, timing in networks.items()},
        maps={name: timing.speed() for name, timing in maps.items()},
    )


@dataclass(frozen=True)
class Timing:
    """Takes the time of one query, and of many items at once."""

    query: Callable[[], object]
    many: Callable[[], int]  # returns how many items there were
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def warm_up(self) -> None:
        """Does everything once, so that what is compiled is compiled before."""
        self.query()
        self.many()

    def time_query(self) -> None:
        """Takes the time of one query."""
        started = time.perf_counter()
        self.query()
        self.seconds.append(time.perf_counter() - started)

    def time_many(self) -> None:
        """Takes the time of many items."""
        started = time.perf_counter()
        count = self.many()
        self.rates.append(count / (time.perf_counter() - started))

    def speed(self) -> Speed:
        """Returns the median of what was taken."""
        return Speed(float(np.median(self.seconds)), float(np.median(self.rates)))


def embeds_images(encoder: Encoder) -> bool:
    """Tells whether an encoder can embed an image, and does not only know what was stored."""
    if isinstance(encoder, DerivedEncoder):
        return all(embeds_images(source) for source in encoder.sources)
    return not isinstance(encoder, StoredEmbeddings)


def timing_of_network(encoder: Encoder, data: DataSet) -> Timing:
    """Returns the timing of an encoder on images of a data set.

    Many at once are read and decoded too, as those of a gallery are.
    """
    batch = next(iter(encoder.images_of(data)))
    image = batch["image"].numpy()[:1]

    def many() -> int:
        return sum(len(embeddings) for embeddings, _ in first_batches(encoder, data, IMAGES))

    return Timing(lambda: encoder.embed(image), many)


def timing_of_map(adapter: Adapter) -> Timing:
    """Returns the timing of an adapter on vectors of its source's dimensions."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(VECTORS, adapter.source_dims)).astype(np.float32)
    one = tf.constant(vectors[:1])
    compiled = tf.function(lambda rows: adapter(rows, training=False))

    def many() -> int:
        return len(adapter.predict(vectors, verbose=0))

    return Timing(lambda: compiled(one).numpy(), many)


def machine() -> str:
    """Returns what the speeds were measured on, in words."""
    graphics = tf.config.list_physical_devices("GPU")
    cores = f"{os.cpu_count()} CPU cores"
    if not graphics:
        return f"{cores}, no GPU"
    return f"{len(graphics)} GPU(s), {cores}"
