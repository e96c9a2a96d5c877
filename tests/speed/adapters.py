"""How long adapters take to fit, and how many vectors a second they map on one core: a JSON line
for each.

taskset -c 0,1 python tests/speed/adapters.py

8,000 pairs of random embeddings, of which the target is a bent, noisy map of the source. A map is
timed in a process of its own, which has one core, by the time that it had the core, so that other
programs on the machine count little; the fastest round counts. `ratio` is above 1 where the bar is
met.
"""

import bct_keras  # noqa: F401 -- before TensorFlow, as in the commands: it sets the allocator

# isort: split

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

from bct_keras import adapters

PAIRS, IDENTITIES = 8000, 1000
LONGEST_FIT = 60.0  # seconds, on two cores
FASTEST_MAPS = {64: 100_000, 512: 20_000}  # vectors/s, on one core
ROUNDS = 5


def pairs(dims: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns embeddings by two encoders, and the identities."""
    random = np.random.default_rng(0)
    labels = np.arange(PAIRS) % IDENTITIES
    people = random.normal(size=(IDENTITIES, dims))[labels]
    new = people + 0.3 * random.normal(size=(PAIRS, dims))
    bent = np.tanh(people @ random.normal(size=(dims, dims)) / dims**0.5)
    old = bent + 0.7 * random.normal(size=(PAIRS, dims))
    return new.astype(np.float32), old.astype(np.float32), labels


def figure(name: str, value: float, unit: str, against: float, ratio: float) -> None:
    bar = f"{'at most' if unit == 's' else 'at least'} {against:,.0f} {unit}"
    found = {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "against": bar,
        "ratio": round(ratio, 2),
    }
    print(json.dumps(found), flush=True)


def fit_seconds(kind: str, dims: int) -> float:
    source, target, labels = pairs(dims)
    begin = time.perf_counter()
    adapters.fit(kind, source, target, labels)
    return time.perf_counter() - begin


def vectors_per_second(kind: str, dims: int) -> float:
    """Returns how many vectors `predict` maps, in this process."""
    model = adapters.ADAPTERS[kind](dims, dims)
    vectors = np.random.default_rng(0).normal(size=(FASTEST_MAPS[dims], dims)).astype(np.float32)
    model.predict(vectors, verbose=0)  # traces
    fastest = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        model.predict(vectors, verbose=0)
        fastest = min(fastest, time.process_time() - begin)
    return len(vectors) / fastest


def on_one_core(kind: str, dims: int) -> float:
    """Returns the vectors a second of a process that has one core from its start."""
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, sys.executable, __file__, f"--map={kind},{dims}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--map", help="KIND,DIMS: times one map alone, in this process")
    chosen = parser.parse_args().map
    if chosen:
        kind, dims = chosen.split(",")
        print(vectors_per_second(kind, int(dims)))
        return
    for dims, required in FASTEST_MAPS.items():
        for kind in adapters.ADAPTERS:
            rate = on_one_core(kind, dims)
            figure(f"{kind}, {dims} dims, one core", rate, "vectors/s", required, rate / required)
    for dims in FASTEST_MAPS:
        for kind in adapters.ADAPTERS:
            taken = fit_seconds(kind, dims)
            name = f"fit {kind}, {PAIRS:,} pairs of {dims} dims"
            figure(name, taken, "s", LONGEST_FIT, LONGEST_FIT / taken)


if __name__ == "__main__":
    main()
