"""RecordIO to TFRecord on all cores, against a plain loop over MXNet's reader, and peak memory:
JSON lines.

python tests/speed/prepare.py                                          200,000 images: 4 GB of disk,
some minutes python tests/speed/prepare.py --mxnet_python=/opt/mxnet/bin/python     of an
environment with mxnet==1.9.1

The plain loop reads a record with MXNet, makes a tf.train.Example of it and writes that with
tf.io.TFRecordWriter. The two cannot be in one environment: its time is that of the two halves, each
in a process of its own, one after the other.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from recordio_files import jpegs, write_recordio

from bct_keras.prepare.run import prepare
from bct_keras.prepare.sources.drawing import png

REQUIRED_RATE, REQUIRED_OVER_LOOP, REQUIRED_MEGABYTES = 60_000, 1.5, 600
ROUNDS = 3  # the fastest counts: other programs on the machine only ever slow a round down
TINY_RECORDS = 1_000_000

MXNET_HALF = """
import sys, time
import mxnet
start = time.perf_counter()
reader = mxnet.recordio.MXRecordIO(sys.argv[1], "r")
while (record := reader.read()) is not None:
    header, image = mxnet.recordio.unpack(record)
print(time.perf_counter() - start)
"""
TENSORFLOW_HALF = """
import sys, time
from pathlib import Path
import tensorflow as tf
folder, records = Path(sys.argv[1]), int(sys.argv[2])
images = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
start = time.perf_counter()
with tf.io.TFRecordWriter(str(folder / "loop.tfrecord")) as writer:
    for record in range(records):
        image = images[record % len(images)]
        feature = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[record // 50])),
            "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"train.rec/%d" % record])),
        }
        writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
print(time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mxnet_python", type=Path, default=Path("/tmp/mxnet-venv/bin/python"))
    parser.add_argument("--images", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_rate(Path(folder), options.images, options.mxnet_python)
        measure_memory(Path(folder))


def measure_rate(folder: Path, images: int, mxnet_python: Path) -> None:
    encoded = jpegs(3000)
    for number, image in enumerate(encoded):
        (folder / f"{number:05d}.jpg").write_bytes(image)
    write_recordio(folder / "faces", encoded, images)
    ours, loop = [], []
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine is everybody's
        start = time.perf_counter()
        prepare(f"recordio({folder / 'faces'})", "class(old_share=0.3)", folder / "out")
        ours.append(time.perf_counter() - start)
        shutil.rmtree(folder / "out")
        if mxnet_python.is_file():
            loop.append(seconds(mxnet_python, MXNET_HALF, folder / "faces/train.rec"))
            loop[-1] += seconds(Path(sys.executable), TENSORFLOW_HALF, folder, str(images))
    rate = images / min(ours)
    show(
        "prepare, RecordIO to TFRecord",
        round(rate),
        "images/s",
        f"{REQUIRED_RATE:,} images/s",
        rate / REQUIRED_RATE,
    )
    if loop:
        against = (
            f"a plain loop, {images / min(loop):,.0f} images/s (required: {REQUIRED_OVER_LOOP}"
            " times)"
        )
        show("prepare, over a plain loop", round(rate), "images/s", against, min(loop) / min(ours))
    else:
        print(
            f"no comparison with MXNet: {mxnet_python} is missing (--mxnet_python, mxnet==1.9.1)",
            file=sys.stderr,
        )


def measure_memory(folder: Path) -> None:
    """Of all processes, memory that they share counted once."""
    pixel = png(np.zeros((3, 1, 1), np.uint8))
    write_recordio(folder / "tiny", [pixel], TINY_RECORDS)
    arguments = [
        f"--source=recordio({folder / 'tiny'})",
        "--split=data(old_share=0.3)",
        f"--out={folder / 'tiny-out'}",
    ]
    command = subprocess.Popen(
        [sys.executable, "-m", "bct_keras.prepare", *arguments], stdout=subprocess.DEVNULL
    )
    first, peak = psutil.Process(command.pid), 0
    while command.poll() is None:
        peak = max(peak, sum(map(proportional_bytes, [first, *children_of(first)])))
        time.sleep(0.05)
    if command.returncode:
        sys.exit("prepare failed; see above")
    megabytes = peak / 1e6
    name = f"prepare, peak memory, {TINY_RECORDS:,} records"
    show(name, round(megabytes), "MB", f"{REQUIRED_MEGABYTES} MB", megabytes / REQUIRED_MEGABYTES)


def children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def proportional_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def seconds(python: Path, half: str, *arguments: Path | str) -> float:
    done = subprocess.run(
        [python, "-c", half, *arguments], check=True, text=True, stdout=subprocess.PIPE
    )
    return float(done.stdout)


def show(name: str, value: float, unit: str, against: str, ratio: float) -> None:
    print(
        json.dumps(
            {
                "name": name,
                "value": value,
                "unit": unit,
                "against": against,
                "ratio": round(ratio, 2),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
