"""`prepare` and `embed` on a Ray cluster against the processes of this machine, without and with
nodes that are killed while they work: JSON lines.

python tests/speed/cluster.py               200,000 images, some minutes
"""

import argparse
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from ray.cluster_utils import Cluster

from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.engines import Local, Ray
from bct_keras.prepare.run import prepare

ROOT = Path(__file__).parents[2]
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
IMAGES_OF_AN_IDENTITY = 20


def content(folder: Path) -> str:
    """Names the bytes of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def encoder_in(folder: Path) -> Path:
    """Writes an encoder of 32-pixel images whose work is worth a cluster."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    found = layers.Rescaling(1 / 255)(image)
    for filters in (16, 32, 64):
        found = layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(found)
    pooled = layers.GlobalAveragePooling2D()(found)
    keras.Model(image, layers.Dense(64)(pooled)).save(folder / "encoder.keras")
    return folder / "encoder.keras"


class Killer:
    """Kills a node of a cluster every so many seconds, and adds another one."""

    def __init__(self, cluster: Cluster, seconds: float):
        self.cluster = cluster
        self.seconds = seconds
        self.killed = 0
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.end.wait(self.seconds):
            first = next(iter(self.cluster.worker_nodes))
            self.cluster.remove_node(first, allow_graceful=False)
            self.killed += 1
            self.cluster.add_node(wait=False, **NODE)

    def __enter__(self) -> "Killer":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end.set()
        self.thread.join()


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def figure(name: str, value: float, here: float, same: bool, **more: int) -> None:
    """Prints a figure, and whether the bytes are those of this machine."""
    told = {"name": name, "value": round(value, 1), "unit": "s", "against": f"{here:.1f} s local"}
    print(
        json.dumps(told | {"ratio": round(value / here, 2), "same_bytes": same} | more), flush=True
    )


def measure(folder: Path, images: int, cluster: Cluster, seconds: float) -> None:
    """Measures both commands on this machine, on the cluster, and with nodes that are killed."""
    source = f"synthetic(identities={images // IMAGES_OF_AN_IDENTITY}, image_size=32)"
    encoder = load_encoder(encoder_in(folder))
    address = str(cluster.address)

    def prepared(name: str, engine: Local | Ray) -> None:
        prepare(source, "none", folder / "data" / name, engine=engine)

    def embedded(name: str, engine: Local | Ray) -> None:
        embed(encoder, open_data_set(folder / "data/here"), folder / "by" / name, engine=engine)

    for command, work, place, processes in (
        ("prepare", prepared, "data", 2),
        ("embed", embedded, "by", 2),
    ):
        here = seconds_of(lambda work=work, n=processes: work("here", Local(n)))
        expected = content(folder / place / "here")
        there = seconds_of(lambda work=work: work("there", Ray(address)))
        figure(f"{command} by ray", there, here, content(folder / place / "there") == expected)
        with Killer(cluster, seconds) as killer:
            killed = seconds_of(lambda work=work: work("killed", Ray(address)))
        same = content(folder / place / "killed") == expected
        name = f"{command} by ray, a node killed every {seconds:g} s"
        figure(name, killed, here, same, killed=killer.killed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="between two kills")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    # Its hook at exit can be set in the main thread alone, and the killer adds nodes in another.
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), given.images, cluster, given.seconds)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
