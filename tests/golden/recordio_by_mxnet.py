"""Makes recordio/ and recordio.json: files written by MXNet, and what MXNet's own reader reads from
these and others.

In an environment of its own (python3.11 -m venv; pip install mxnet==1.9.1 numpy==1.23.5 pillow):
    python tests/golden/recordio_by_mxnet.py ../shared/data/insightface_sample
    ../shared/data/recordio_edge
"""

import hashlib
import io
import json
import struct
import sys
from pathlib import Path

from mxnet.recordio import IRHeader, MXIndexedRecordIO, MXRecordIO, pack, unpack  # pyright: ignore
from PIL import Image

HERE = Path(__file__).parent
MAGIC = struct.pack("<I", 0xCED7230A)
IMAGES = (1, 3, 2)  # of each identity


def jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (40 * number, 100, 255 - 40 * number)).save(file, "JPEG", quality=30)
    return file.getvalue()


def with_comment(image: bytes, comment: bytes) -> bytes:
    return image[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + image[2:]


def write(folder: Path) -> None:
    """InsightFace's layout.

    A payload starts with 32 bytes before the image, an image's comment 6 bytes after that.
    """
    folder.mkdir(exist_ok=True)
    file = MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    images = sum(IMAGES)
    comments = [
        b"",
        b"at" + MAGIC,  # at a multiple of 4: MXNet cuts the record in two
        b"off" + MAGIC,  # not at one: it is left alone
        b"at" + 3 * MAGIC + b"four" + MAGIC + b"off" + MAGIC,  # several in a row, and one off
        b"pad",
        b"at" + MAGIC + b"x",
    ]
    file.write_idx(0, pack(IRHeader(0, [images + 1, images + 1 + len(IMAGES)], 0, 0), b""))
    key, ranges = 1, []
    for identity, count in enumerate(IMAGES):
        ranges.append((key, key + count))
        for _ in range(count):
            image = with_comment(jpeg(key - 1), comments[key - 1])
            file.write_idx(key, pack(IRHeader(0, [identity, 0], key, 0), image))
            key += 1
    for first, beyond in ranges:
        file.write_idx(key, pack(IRHeader(0, [first, beyond], key, 0), b""))
        key += 1
    file.close()
    (folder / "property").write_text(f"{len(IMAGES)},16,16")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(folder: Path) -> dict:
    """The labels and the sha256 of every image by key; one sha256 over those of all payloads, in
    each order.
    """
    (path,) = folder.glob("*.rec")
    indexed = MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
    in_file_order, file = [], MXRecordIO(str(path), "r")
    while (payload := file.read()) is not None:
        in_file_order.append(payload)
    images = {}
    for key in sorted(indexed.keys):
        header, image = unpack(indexed.read_idx(key))
        images[key] = [header.label.tolist() if header.flag else [header.label], sha256(image)]
    return {
        "payloads_by_key": sha256(
            "".join(sha256(indexed.read_idx(key)) for key in sorted(indexed.keys)).encode()
        ),
        "payloads_in_file_order": sha256("".join(map(sha256, in_file_order)).encode()),
        "images": images,
    }


def main() -> None:
    write(HERE / "recordio")
    folders = [HERE / "recordio", *map(Path, sys.argv[1:])]
    found = {folder.name: read(folder) for folder in folders}
    (HERE / "recordio.json").write_text(json.dumps(found, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
