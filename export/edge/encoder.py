"""Embeds photos on a device, by LiteRT."""

import hashlib
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from gallery_facts import EMBEDDING
from photo import pixels_of


class Encoder:
    """Embeds photos by a .tflite file that `export` has written."""

    def __init__(self, path: str, threads: int = 2):
        content = Path(path).read_bytes()
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self.interpreter = Interpreter(model_path=path, num_threads=threads)
        (details,) = self.interpreter.get_input_details()
        self.input = details["index"]
        self.pixel_type = details["dtype"]
        self.size = int(details["shape"][1])
        self.outputs = self.named_outputs()
        one_photo = (1, self.size, self.size, 3)
        self.interpreter.resize_tensor_input(self.input, one_photo)
        self.interpreter.allocate_tensors()

    def named_outputs(self) -> dict[str, int]:
        """Returns which tensor holds each embedding, by its name in the file's signature."""
        details = self.interpreter.get_output_details()
        if len(details) == 1:
            return {EMBEDDING: details[0]["index"]}
        runner = self.interpreter.get_signature_runner()
        found = {}
        for name, output in runner.get_output_details().items():
            found[name] = output["index"]
        return found

    def embed(self, photo: str) -> dict[str, np.ndarray]:
        """Returns each embedding [dims] of a photo by its name, of length 1."""
        pixels = pixels_of(photo, self.size)
        batch = pixels[None].astype(self.pixel_type)
        self.interpreter.set_tensor(self.input, batch)
        self.interpreter.invoke()
        found = {}
        for name, index in self.outputs.items():
            rows = self.interpreter.get_tensor(index)
            embedding = rows[0].astype(np.float32)
            found[name] = embedding / np.linalg.norm(embedding)
        return found
