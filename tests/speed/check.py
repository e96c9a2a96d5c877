"""How many records a second `prepare --check` reads, of RecordIO and of a data set made from it:
JSON lines.

python tests/speed/check.py                 200,000 images, 3.3 GB of disk, a minute or two
"""

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from recordio_files import jpegs, write_recordio

from bct_keras.prepare.check import check
from bct_keras.prepare.run import prepare

REQUIRED = 150_000  # records/s
ROUNDS = 3  # the fastest counts: other programs on the machine only ever slow a round down


class Distinct(Sequence[bytes]):
    """As many images as are wanted, no two of them equal: a number stands among the last compressed
    pixels.
    """

    def __init__(self, images: list[bytes], count: int):
        self.images, self.number = images, count

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, number) -> bytes:
        image = self.images[number % len(self.images)]
        return image[:-40] + number.to_bytes(4, "big").replace(b"\xff", b"\xfe") + image[-36:]


def records_per_second(folder: Path, images: int) -> float:
    fastest = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as text:
            check(folder, process_count=0, say=print)
        fastest = min(fastest, time.perf_counter() - start)
        assert f"{images:,} whole images" in text.getvalue(), text.getvalue()
    return images / fastest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recordio(folder / "faces", Distinct(jpegs(2000), images), images)
        prepare(f"recordio({folder / 'faces'})", "none", folder / "data")
        for kind, checked in (("RecordIO", folder / "faces"), ("data set", folder / "data")):
            rate = records_per_second(checked, images)
            figure = {
                "name": f"--check of a {kind}",
                "value": round(rate),
                "unit": "records/s",
                "against": f"{REQUIRED:,} records/s",
                "ratio": round(rate / REQUIRED, 2),
            }
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
