"""Writes an encoder for servers and devices, and checks each file against the encoder it came from.

python -m bct_keras.export --encoder=runs/mixbct --out=exported --formats=saved_model,tflite

Both take images as float [batch, size, size, 3] of 0..255 and give embeddings of length 1: a SavedModel for
TF Serving, and a TFLite file for the device, encoder.tflite. Of a run with --compatible_dims they give the
compatible coordinates, which are what the old gallery is searched with.
"""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from bct_keras import artefacts, command
from bct_keras.data.embeddings import normalised
from bct_keras.encoders import Encoder, KerasEncoder, load_encoder
from bct_keras.errors import InputError

KIND = "export"
CHECKED_IMAGES = 16
FILES = {"saved_model": "saved_model", "tflite": "encoder.tflite"}
# The largest difference in any coordinate of an embedding of length 1.
TOLERANCES = {"saved_model": 1e-5, "tflite": 1e-4}


class Served(tf.Module):
    """The encoder with each weight held once; Keras's own export writes every variable twice."""

    def __init__(self, encoder: KerasEncoder):
        super().__init__()
        self.weights = [weight.value for weight in encoder.model.weights]
        size, dims = encoder.image_size, encoder.compatible_dims
        self.serve = tf.function(
            lambda image: {"embedding": tf.math.l2_normalize(encoder.model(image, training=False)[:, :dims], axis=1)},
            input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32, name="image")],
        )


def export(encoder: Encoder, formats: list[str], out: Path) -> str:
    """Returns one line for each format; writes nothing unless all of them agree with the encoder."""
    if not isinstance(encoder, KerasEncoder):
        raise InputError(f"{encoder.path}: only a run's folder or a .keras file can be exported")
    unknown = sorted(set(formats) - FILES.keys())
    if unknown or not formats:
        raise InputError(f"--formats={','.join(formats)}: known formats are {', '.join(FILES)}")
    made_from = {"encoder": encoder.fingerprint, "formats": sorted(formats)}
    if not artefacts.is_current(out, KIND, made_from):
        with artefacts.new_folder(out) as folder:
            write_files(encoder, formats, folder)
            differences = {name: difference(encoder, folder / FILES[name], TOLERANCES[name]) for name in formats}
            artefacts.write_manifest(folder, KIND, made_from, differences=differences)
    differences = artefacts.read_manifest(out, KIND)["differences"]
    return "\n".join(f"{out / FILES[name]}: within {value:.1e} of the encoder" for name, value in differences.items())


def write_files(encoder: KerasEncoder, formats: list[str], folder: Path) -> None:
    served = Served(encoder)
    tf.saved_model.save(served, str(folder / FILES["saved_model"]), signatures={"serving_default": served.serve})
    if "tflite" in formats:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / FILES["saved_model"]))
        (folder / FILES["tflite"]).write_bytes(converter.convert())
    if "saved_model" not in formats:
        shutil.rmtree(folder / FILES["saved_model"])


def difference(encoder: Encoder, path: Path, tolerance: float) -> float:
    """The largest one over random images, the file run in its own run time."""
    shape = (CHECKED_IMAGES, encoder.image_size, encoder.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = normalised(encoder.embed(images)[:, : encoder.compatible_dims])
    found = float(np.max(np.abs(load_encoder(path).embed(images) - expected)))
    if not found <= tolerance:
        raise InputError(f"{path.name} differs from {encoder.path} by {found:.2e}, more than {tolerance:.0e}")
    return found


def define_flags() -> None:
    flags.DEFINE_string("encoder", None, "a run's folder or a .keras file")
    flags.DEFINE_list("formats", list(FILES), f"what to write, of {', '.join(FILES)}")
    flags.DEFINE_string("out", None, "the folder to make")


def main() -> None:
    encoder = load_encoder(command.required("encoder"))
    print(export(encoder, flags.FLAGS.formats, Path(command.required("out"))))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
