"""MobileFaceNet at 112 x 112 as TFLite: size, and time at one thread, of each file against float32;
JSON lines.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from figures import Figure, tell

from bct_keras.backbones.mobilefacenet import mobilefacenet
from bct_keras.data.dataset import open_data_set
from bct_keras.export.formats import FORMATS
from bct_keras.export.formats.format import Source
from bct_keras.export.run import keras_encoder
from bct_keras.export.writing import size_of
from bct_keras.prepare.run import prepare

# Of all files in turn; the fastest counts, as other programs on the machine only slow one down.
ROUNDS = 40
INT8_SIZE, INT8_SPEED, SAVED_MODEL_SIZE = 0.27, 1.8, 1.02  # what is asked for


def milliseconds(paths: dict[str, Path]) -> dict[str, float]:
    running: dict[str, Any] = {
        name: Interpreter(model_path=str(path), num_threads=1) for name, path in paths.items()
    }
    image = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), np.uint8)
    for interpreter in running.values():
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
    best = dict.fromkeys(running, float("inf"))
    for _ in range(ROUNDS):
        for name, interpreter in running.items():
            start = time.perf_counter()
            interpreter.invoke()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def show(name: str, value: float, unit: str, against: str, ratio: float) -> None:
    tell(Figure(name, value, unit, against, round(ratio, 4)))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(
            "synthetic(identities=20, images=10, image_size=112)",
            "class(old_share=0.3)",
            folder / "data",
        )
        model = mobilefacenet(image_size=112, dims=512)
        model.save(folder / "encoder.keras")
        source = Source(
            keras_encoder(folder / "encoder.keras"),
            calibration=open_data_set(folder / "data" / "all"),
        )
        paths = {name: folder / form.file for name, form in FORMATS.items()}
        for name, form in FORMATS.items():
            form.write(source, paths[name])
        weights = sum(weight.nbytes for weight in model.get_weights())
        variables = size_of(paths["saved_model"] / "variables")
        show(
            "saved_model, weights",
            variables,
            "bytes",
            f"{SAVED_MODEL_SIZE} x weights",
            variables / weights,
        )
        whole = size_of(paths.pop("saved_model"))
        show(
            "saved_model, with its graph",
            whole,
            "bytes",
            f"{SAVED_MODEL_SIZE} x weights",
            whole / weights,
        )
        times = milliseconds(paths)
        for name, path in paths.items():
            against = f"{INT8_SIZE} x float32" if name == "tflite_int8" else "float32"
            show(
                f"{name}, size",
                size_of(path),
                "bytes",
                against,
                size_of(path) / size_of(paths["tflite"]),
            )
            against = (
                f"{INT8_SPEED} times as fast as float32" if name == "tflite_int8" else "float32"
            )
            show(
                f"{name}, 1 thread",
                round(times[name], 2),
                "ms",
                against,
                times["tflite"] / times[name],
            )


if __name__ == "__main__":
    main()
