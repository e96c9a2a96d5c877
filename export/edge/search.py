"""Photo in, the most similar entries of a gallery out: what runs on a device, without TensorFlow or
bct_keras.

    pip install ai-edge-litert numkong numpy pillow
    python search.py --model=encoder.tflite --gallery=people.gallery --image=me.jpg --top=5

The gallery is the very file that `python -m bct_keras.gallery` writes; numkong holds usearch's
kernels.
"""

import argparse
import hashlib
import json
import mmap
import struct
import sys
import zlib
from pathlib import Path

import numkong
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from photo import pixels_of

SPARE_CANDIDATES = (
    128  # scored again, beyond twice those asked for: coarse scores are off by less than 0.002
)


class Encoder:
    def __init__(self, path: str, threads: int = 2):
        self.fingerprint = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        self.interpreter = Interpreter(model_path=path, num_threads=threads)
        (self.input,), (self.output,) = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        self.size = int(self.input["shape"][1])
        self.interpreter.resize_tensor_input(self.input["index"], (1, self.size, self.size, 3))
        self.interpreter.allocate_tensors()

    def embed(self, photo: str) -> np.ndarray:
        """[dims] of length 1"""
        pixels = pixels_of(photo, self.size)
        self.interpreter.set_tensor(self.input["index"], pixels[None].astype(self.input["dtype"]))
        self.interpreter.invoke()
        embedding = np.asarray(self.interpreter.get_tensor(self.output["index"])[0], np.float32)
        return embedding / np.linalg.norm(embedding)


class Gallery:
    """Its layout: bct_keras/gallery/blocks.py and contents.py."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            self.bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        magic, version, self.dims = struct.unpack("<8sII", self.head(0)[:16])
        if magic != b"BCTGALRY" or version not in (1, 2):  # version 2 may hold removals
            raise ValueError(f"{path} is no gallery of version 1 or 2")
        self.facts, self.names, self.parts, self.payloads = {b"ENCO": [], b"COMP": []}, [], [], []
        removed = [np.zeros(0, np.uint64)]
        self.given, position, (end,) = (
            0,
            128,
            struct.unpack("<Q", self.head(64)[:8]),
        )  # given: numbers of entries
        while position < end:
            kind, rows, length, checksum = struct.unpack("<4sIQI", self.head(position)[:20])
            payload = self.bytes[position + 64 : position + 64 + length]
            self.payloads.append((position, payload, checksum))
            if kind in (b"ENTR", b"REPL"):
                self.read_rows(kind, rows, payload)
            elif kind == b"REMO":
                removed.append(np.frombuffer(payload, "<u8", rows))
            else:
                self.check(self.payloads[-1:])
                self.facts[kind].append(json.loads(bytes(payload).rstrip(b"\0")))
            position += 64 + length
        if not self.parts:
            raise ValueError(f"{path} has no entries")
        self.entry_of = np.concatenate([numbers for numbers, *_ in self.parts])
        made_by = np.concatenate([encoders for _, encoders, *_ in self.parts])
        numbers = np.concatenate([self.entry_of, *removed])
        if numbers.max() >= self.given or made_by.max() >= len(self.facts[b"ENCO"]):
            raise ValueError(f"{path} is damaged; copy it again")
        row_of = np.full(self.given, -1)
        row_of[self.entry_of] = np.arange(
            len(self.entry_of)
        )  # an entry's latest row is its live one
        row_of[np.concatenate(removed)] = -1
        live = row_of[row_of >= 0]
        if not len(live):
            raise ValueError(f"{path} has no entries")
        self.entries, self.dead = len(live), np.delete(np.arange(len(self.entry_of)), live)
        self.makers = {
            self.facts[b"ENCO"][encoder]["fingerprint"]
            for encoder in np.unique(made_by[live]).tolist()
        }
        self.scale = np.concatenate([scale for _, _, scale, *_ in self.parts])

    def head(self, position: int) -> bytes:
        head = bytes(self.bytes[position : position + 64])
        if len(head) < 64 or zlib.crc32(head[:60]) != struct.unpack("<I", head[60:])[0]:
            raise ValueError(f"the gallery is damaged at byte {position}; copy it again")
        return head

    def read_rows(self, kind: bytes, rows: int, payload: memoryview) -> None:
        # A row begins with 8 bytes: where an entry's id and label end, or the number of the entry
        # embedded anew.
        if kind == b"ENTR":
            ends = np.frombuffer(payload, "<u4", 2 * rows).reshape(2, rows)
            self.names.append((self.given, ends, payload[(14 + 2 * self.dims) * rows :]))
            numbers = np.arange(self.given, self.given + rows, dtype=np.uint64)
            self.given += rows
        else:
            numbers = np.frombuffer(payload, "<u8", rows)
        scale, encoders = (
            np.frombuffer(payload, "<f4", rows, 8 * rows),
            np.frombuffer(payload, "<u2", rows, 12 * rows),
        )
        planes = np.frombuffer(payload, np.int8, 2 * rows * self.dims, 14 * rows).reshape(
            2, rows, self.dims
        )
        self.parts.append((numbers, encoders, scale, *planes))

    def check(self, payloads: list | None = None) -> None:
        """Every byte against its checksum; once after the file was copied here is enough."""
        for position, payload, checksum in self.payloads if payloads is None else payloads:
            if zlib.crc32(payload) != checksum:
                raise ValueError(
                    f"the gallery is damaged in the block at byte {position}; copy it again"
                )

    def search(self, fingerprint: str, query: np.ndarray, top: int) -> list[tuple[float, str, str]]:
        """The cosine, label and id of the best entries, the best first."""
        fit = {fact["gallery"] for fact in self.facts[b"COMP"] if fact["query"] == fingerprint}
        if not self.makers <= fit | {fingerprint}:
            raise ValueError(
                "the model is not known to be compatible with every entry; see gallery add --report"
            )
        coarse_query = np.rint(query * (127 / np.abs(query).max())).astype(np.int8)[None]
        products = [
            numkong.cdist(coarse_query, high, metric="dot", out_dtype="float32")
            for *_, high, _ in self.parts
        ]
        scores = np.concatenate([np.asarray(product)[0] for product in products]) * self.scale
        scores[self.dead] = -np.inf
        count = min(2 * top + SPARE_CANDIDATES, self.entries)
        candidates = np.sort(np.argpartition(scores, len(scores) - count)[len(scores) - count :])
        exact, first = [], 0
        for _, _, scale, high, low in self.parts:
            rows = candidates[(candidates >= first) & (candidates < first + len(scale))] - first
            exact += (scale[rows] * ((high[rows] * np.float32(256) + low[rows]) @ query)).tolist()
            first += len(scale)
        best = np.argsort(exact)[::-1][:top]
        return [(exact[each], *self.name(int(self.entry_of[candidates[each]]))) for each in best]

    def name(self, number: int) -> tuple[str, str]:
        first, ends, text = next(names for names in reversed(self.names) if names[0] <= number)
        row = number - first
        id_start, label_start = ends[:, row - 1] if row else (0, 0)
        labels = text[ends[0, -1] :]
        return str(labels[label_start : ends[1, row]], "utf-8"), str(
            text[id_start : ends[0, row]], "utf-8"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, kind in (("model", ".tflite"), ("gallery", "gallery"), ("image", "JPEG or PNG")):
        parser.add_argument(f"--{name}", required=True, help=f"a {kind} file")
    parser.add_argument("--top", type=int, default=5, help="how many entries to list")
    given = parser.parse_args()
    try:
        gallery, encoder = Gallery(given.gallery), Encoder(given.model)
        gallery.check()
        query = encoder.embed(given.image)
        found = gallery.search(encoder.fingerprint, query, given.top)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        sys.exit(f"error: {error}")
    print(f"{given.image}, among {gallery.entries:,} entries:")
    for score, label, ident in found:
        print(f"  {score:.4f}  {label}  {ident}")


if __name__ == "__main__":
    main()
