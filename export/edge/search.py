"""Finds the entries of a gallery that are most like a photo, on a device.

It needs neither TensorFlow nor bct_keras:

    pip install ai-edge-litert numkong numpy pillow
    python search.py --model=encoder.tflite --gallery=people.gallery --image=me.jpg --top=5

The gallery is the very file that `python -m bct_keras.gallery` writes; numkong holds usearch's
kernels.

A model may give two embeddings of a photo. Entries that it made itself are searched by `embedding`,
and those of an older encoder by `embedding_compatible`. A gallery that holds both kinds is searched
on a server, which knows how their scores compare.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numkong
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from gallery_facts import COMPATIBLE, EMBEDDING
from gallery_file import GalleryFile
from photo import pixels_of

# Entries that are scored again, beyond twice those asked for: coarse scores are off by less than
# 0.002.
SPARE_CANDIDATES = 128


class Encoder:
    """Embeds photos by a .tflite file that `export` has written."""

    def __init__(self, path: str, threads: int = 2):
        content = Path(path).read_bytes()
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self.interpreter = Interpreter(model_path=path, num_threads=threads)
        (self.input,) = self.interpreter.get_input_details()
        self.outputs = self.named_outputs()
        self.size = int(self.input["shape"][1])
        one_photo = (1, self.size, self.size, 3)
        self.interpreter.resize_tensor_input(self.input["index"], one_photo)
        self.interpreter.allocate_tensors()

    def named_outputs(self) -> dict[str, int]:
        """Returns which tensor holds each embedding, by its name in the file's signature."""
        details = self.interpreter.get_output_details()
        if len(details) == 1:
            return {EMBEDDING: details[0]["index"]}
        outputs = self.interpreter.get_signature_runner().get_output_details()
        return {name: output["index"] for name, output in outputs.items()}

    def embed(self, photo: str) -> dict[str, np.ndarray]:
        """Returns each embedding [dims] of a photo by its name, of length 1."""
        pixels = pixels_of(photo, self.size)
        batch = pixels[None].astype(self.input["dtype"])
        self.interpreter.set_tensor(self.input["index"], batch)
        self.interpreter.invoke()
        found = {}
        for name, index in self.outputs.items():
            embedding = np.asarray(self.interpreter.get_tensor(index)[0], np.float32)
            found[name] = embedding / np.linalg.norm(embedding)
        return found


class Gallery(GalleryFile):
    """A gallery that is searched by an encoder's embeddings."""

    def check_fits(self, fingerprint: str) -> None:
        """Raises unless queries of this encoder are known to fit every entry."""
        fit = {fingerprint}
        for each in self.compatible:
            if each.query == fingerprint:
                fit.add(each.gallery)
        if not self.makers <= fit:
            raise ValueError(
                "the model is not known to be compatible with every entry; see gallery add --report"
            )

    def query_of(self, fingerprint: str, embeddings: dict[str, np.ndarray]) -> np.ndarray:
        """Returns that embedding of a photo by which all entries can be searched."""
        own = embeddings[EMBEDDING]
        if COMPATIBLE not in embeddings:
            return own
        others = embeddings[COMPATIBLE]
        if fingerprint not in self.makers:
            return others
        # Where own entries have the old dimensions, they are `embedding_compatible` too.
        if len(own) != self.dims:
            return others
        if len(self.makers) == 1:
            return own
        raise ValueError(
            "the gallery holds entries of this model and of an older one, which it searches by two "
            "embeddings; search it on a server, or backfill the rest"
        )

    def search(self, fingerprint: str, query: np.ndarray, top: int) -> list[tuple[float, str, str]]:
        """Returns the cosine, label and id of the best entries, the best first."""
        self.check_fits(fingerprint)
        if len(query) != self.dims:
            raise ValueError(
                f"the model gives {len(query)} dimensions, and the entries have {self.dims}"
            )
        coarse = self.coarse_scores(query)
        first = len(coarse) - min(2 * top + SPARE_CANDIDATES, self.entries)
        candidates = np.sort(np.argpartition(coarse, first)[first:])
        exact = self.exact_scores(query, candidates)
        found = []
        for best in np.argsort(-exact, kind="stable")[:top]:
            number = int(self.entry_of[candidates[best]])
            found.append((exact[best], *self.name(number)))
        return found

    def coarse_scores(self, query: np.ndarray) -> np.ndarray:
        """Returns a score [rows] for each row by its high plane alone."""
        scaled = query * (127 / np.abs(query).max())
        coarse_query = np.rint(scaled).astype(np.int8)[None]
        products = []
        for part in self.parts:
            if part.high.shape[1] != self.dims:  # what entries were before they were moved
                products.append(np.zeros(len(part.scale), np.float32))
                continue
            product = numkong.cdist(coarse_query, part.high, metric="dot", out_dtype="float32")
            products.append(np.asarray(product)[0])
        scores = np.concatenate(products) * self.scale
        scores[self.dead] = -np.inf
        return scores

    def exact_scores(self, query: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Returns the cosine of the query and each of these rows, which have to rise."""
        scores = []
        first = 0
        for part in self.parts:
            end = first + len(part.scale)
            rows = candidates[(candidates >= first) & (candidates < end)] - first
            first = end
            if not len(rows):
                continue
            whole = part.high[rows] * np.float32(256) + part.low[rows]
            # Not as a matrix product: equal embeddings have equal scores.
            scores += (part.scale[rows] * (whole * query).sum(axis=1)).tolist()
        return np.array(scores)


def main() -> None:
    """Prints what the flags ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, kind in (("model", ".tflite"), ("gallery", "gallery"), ("image", "JPEG or PNG")):
        parser.add_argument(f"--{name}", required=True, help=f"a {kind} file")
    parser.add_argument("--top", type=int, default=5, help="how many entries to list")
    given = parser.parse_args()
    try:
        gallery = Gallery(given.gallery)
        encoder = Encoder(given.model)
        gallery.check()
        query = gallery.query_of(encoder.fingerprint, encoder.embed(given.image))
        found = gallery.search(encoder.fingerprint, query, given.top)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        sys.exit(f"error: {error}")
    print(f"{given.image}, among {gallery.entries:,} entries:")
    for score, label, ident in found:
        print(f"  {score:.4f}  {label}  {ident}")


if __name__ == "__main__":
    main()
