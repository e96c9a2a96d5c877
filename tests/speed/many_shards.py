"""What the command that divides the work takes itself: seconds and memory to open a data set of
many shards, to plan its embedding, and to commit that. JSON lines.

The shards are made up, in another process: links to one file, with manifests and results written by
hand, so that only that command's own work is timed. The links lie in memory, where this machine has
a folder that does: else a disk would be timed.

python tests/speed/many_shards.py                   100,000 shards, some minutes
python tests/speed/many_shards.py --shards=1000000 --folder=/tmp
                                                    half an hour, and 10 million names of files
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bct_keras import artefacts, stores
from bct_keras.artefacts import tables
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embeddings import FIELDS, open_embeddings
from bct_keras.data.shard_list import COLUMNS
from bct_keras.embed.embedded import EmbeddedData
from bct_keras.embed.run import embed
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.engines import RESULTS, Crew, Local
from bct_keras.engines.part_results import RESULTS_A_LINE, missing_parts, results_of_parts
from bct_keras.prepare.run import prepare

SIZE, DIMS, PARTS = 28, 4, 64
IN_MEMORY = "/dev/shm"
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
    rows = np.repeat(one.shards.rows, shards).astype([("name", "S11"), *COLUMNS])
    rows["name"] = [f"all-{number:07}" for number in range(shards)]
    facts = {**tables.write_table(folder, rows), "rows": [[0, shards]]}
    manifest |= {"shards": facts, "records": shards * shard.records}
    artefacts.write_atomically(folder / artefacts.MANIFEST, json.dumps(manifest, indent=1))


def made_up_results(embedded: Path, folder: Path, shards: int) -> None:
    """Writes what the workers would have: files for each shard, and the results of the parts."""
    (folder / RESULTS).mkdir(parents=True)
    names = [f"all-{number:07}" for number in range(shards)]
    hashes = {}
    for field in FIELDS:
        (source,) = embedded.glob(f"*.{field}.npy")
        hashes[field] = artefacts.file_sha256(source)
        linked(source, [folder / f"{name}.{field}.npy" for name in names])
    of_parts: list[list] = [[] for _ in range(PARTS)]
    for number, name in enumerate(names):
        of_parts[number % PARTS].append([number, hashes])
        (folder / RESULTS / f"{name}.json").write_text(json.dumps(hashes))
    for part, found in enumerate(of_parts):
        with (folder / RESULTS / f"part-{part}-of-{PARTS}.jsonl").open("w") as file:
            for start in range(0, len(found), RESULTS_A_LINE):
                file.write(json.dumps(found[start : start + RESULTS_A_LINE]) + "\n")


def make_up(folder: Path, shards: int) -> None:
    """Writes a data set of many shards, an encoder, and what is there before the commit."""
    prepare(f"synthetic(identities=2, images=2, image_size={SIZE})", "none", folder / "one")
    one = open_data_set(folder / "one")
    embed(encoder_in(folder), one, folder / "embedded-one")
    many_shards(one, folder / "many", shards)
    made_up_results(folder / "embedded-one", folder / "embedded", shards)


def told(what: str, shards: int, work: Callable[[], Any]) -> Any:
    """Does the work and prints what it took; of a busy machine its own seconds tell more."""
    started = time.perf_counter()
    own_started = time.process_time()
    found = work()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {
        "what": what,
        "shards": shards,
        "seconds": round(time.perf_counter() - started, 2),
        "of them its own": round(time.process_time() - own_started, 2),
        "peak MB so far": round(megabytes),
    }
    print(json.dumps(facts), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the driver of an embedding.")
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--folder", help="where the files lie; by default in memory")
    given = parser.parse_args()
    shards: int = given.shards
    in_memory = IN_MEMORY if os.path.isdir(IN_MEMORY) else None
    with tempfile.TemporaryDirectory(dir=given.folder or in_memory) as name:
        folder = Path(name)
        beside = multiprocessing.get_context("spawn").Process(target=make_up, args=(folder, shards))
        beside.start()
        beside.join()
        encoder = told("load the encoder", shards, lambda: load_encoder(folder / "encoder.keras"))
        data = told("open the data set", shards, lambda: open_data_set(folder / "many"))
        out = folder / "embedded"
        product = EmbeddedData(encoder, data, out)
        job = told("plan", shards, lambda: product.plan(out, Crew(Local())))
        told("see which parts are missing", shards, lambda: missing_parts(PARTS, job))
        told("commit", shards, lambda: product.commit(out, results_of_parts(PARTS, job)))
        told("remove the results", shards, lambda: stores.remove_folder(out / RESULTS))
        told("see what is lost", shards, lambda: product.lost(out))
        told("open the embeddings", shards, lambda: open_embeddings(out, data))


if __name__ == "__main__":
    main()
