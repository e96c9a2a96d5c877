"""Old encoders in .onnx files, run by onnxruntime: the extra `onnx`."""

from pathlib import Path

import numpy as np

from bct_keras.encoder import Encoder, checked_shapes, first_sentence, in_batches
from bct_keras.errors import InputError


class OnnxEncoder(Encoder):
    """Images last or colours first, as the file has it; pixels of 0..255, as for every encoder."""

    def __init__(self, path: Path):
        try:
            import onnxruntime
        except ImportError:
            raise InputError(f"{path} needs onnxruntime: pip install -e '.[onnx]'") from None
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            (self.input,) = self.session.get_inputs()
            (output,) = self.session.get_outputs()
            self.dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[self.input.type]
        except Exception as error:  # onnxruntime's own have no base class but this
            raise InputError(f"{path} cannot be loaded as an ONNX encoder: {first_sentence(error)}") from None
        # A free dimension has a name or none.
        shape, embedding_shape = (
            [side if isinstance(side, int) else -1 for side in found.shape] for found in (self.input, output)
        )
        self.colours_first = len(shape) == 4 and shape[1] == 3
        if self.colours_first:
            shape = [shape[0], *shape[2:], 3]
        super().__init__(path, *checked_shapes(path, shape, embedding_shape))
        self.fixed_batch = max(shape[0], 0)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return in_batches(self.run, images, self.fixed_batch)

    def run(self, images: np.ndarray) -> np.ndarray:
        given = images.transpose(0, 3, 1, 2) if self.colours_first else images
        (found,) = self.session.run(None, {self.input.name: np.ascontiguousarray(given, self.dtype)})
        return np.asarray(found, np.float32)
