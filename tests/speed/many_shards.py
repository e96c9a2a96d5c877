"""What the command that divides the work takes itself: seconds and memory to open a data set of
many shards, to plan its embedding, and to commit that. JSON lines.

The shards are made up: links to one file, with manifests and results written by hand, so that only
that command's own work is timed.

python tests/speed/many_shards.py                   100,000 shards, some minutes
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from bct_keras import artefacts
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed.embedded import EmbeddedData
from bct_keras.embed.run import embed
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.engines import RESULTS, Crew, Job, Local
from bct_keras.prepare.run import prepare

SIZE, DIMS = 28, 4
MOST_LINKS = 50_000  # a file system may allow no more to one file


def encoder_in(folder: Path) -> Encoder:
    """Writes the smallest encoder."""
    image = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model(image, keras.layers.Dense(DIMS)(pooled)).save(folder / "encoder.keras")
    return load_encoder(folder / "encoder.keras")


def linked(source: Path, places: list[Path]) -> None:
    """Makes all places links to copies of a file."""
    for first in range(0, len(places), MOST_LINKS):
        shutil.copyfile(source, places[first])
        for place in places[first + 1 : first + MOST_LINKS]:
            os.link(places[first], place)


def many_shards(one: DataSet, folder: Path, shards: int) -> None:
    """Writes a data set that has the one shard of another one so many times."""
    (shard,) = one.shards
    (folder / "shards").mkdir(parents=True)
    names = [f"all-{number:07}.tfrecord" for number in range(shards)]
    linked(shard.path, [folder / "shards" / name for name in names])
    manifest = artefacts.read_manifest(one.folder, "data set")
    (entry,) = manifest["shards"]
    manifest["shards"] = [{**entry, "path": f"shards/{name}"} for name in names]
    manifest["records"] = shards * shard.records
    artefacts.write_atomically(folder / artefacts.MANIFEST, json.dumps(manifest, indent=1))


def made_up_results(job: Job, embedded: Path, folder: Path) -> None:
    """Writes what the workers would have: files for each shard, and their results."""
    (folder / RESULTS).mkdir()
    hashes = {}
    for field in ("old_embedding", "label"):
        (source,) = embedded.glob(f"*.{field}.npy")
        hashes[field] = artefacts.file_sha256(source)
        places = [folder / f"{piece.name}.{field}.npy" for piece in job.pieces]
        linked(source, places)
    for piece in job.pieces:
        files = {f"{piece.name}.{field}.npy": sha256 for field, sha256 in hashes.items()}
        (folder / RESULTS / f"{piece.name}.json").write_text(json.dumps({"files": files}))


def told(what: str, shards: int, work: Callable[[], Any]) -> Any:
    """Does the work and prints what it took."""
    started = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {"what": what, "shards": shards, "seconds": round(seconds, 2)}
    print(json.dumps({**facts, "peak MB so far": round(megabytes)}), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the driver of an embedding.")
    parser.add_argument("--shards", type=int, default=100_000)
    shards: int = parser.parse_args().shards
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(f"synthetic(identities=2, images=2, image_size={SIZE})", "none", folder / "one")
        one = open_data_set(folder / "one")
        encoder = encoder_in(folder)
        embed(encoder, one, folder / "embedded-one")
        many_shards(one, folder / "many", shards)
        told("nothing yet", shards, lambda: None)
        data = told("open the data set", shards, lambda: open_data_set(folder / "many"))
        out = folder / "embedded"
        out.mkdir()
        product = EmbeddedData(encoder, data)
        job = told("plan", shards, lambda: product.plan(out, Crew(Local())))
        told("see what is missing", shards, job.missing)
        made_up_results(job, folder / "embedded-one", out)
        results = told("read the results", shards, job.read_results)
        told("commit", shards, lambda: product.commit(out, results))
        told("see what is lost", shards, lambda: product.lost(out))
        told("open the embeddings", shards, lambda: open_embeddings(out, data))


if __name__ == "__main__":
    main()
