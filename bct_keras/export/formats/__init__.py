"""Lists what an encoder can be exported as.

A new format is a function in a file here and a line below.
"""

from bct_keras.export.formats import saved_model, tflite
from bct_keras.export.formats.format import Format, Source

FORMATS = {
    "saved_model": Format("saved_model", saved_model.write, largest_difference=1e-5),
    "tflite": Format("encoder.tflite", tflite.write_float32, largest_difference=1e-4),
    "tflite_batch": Format(
        "encoder_batch.tflite", tflite.write_batch, largest_difference=1e-4, only_if_asked=True
    ),
    "tflite_fp16": Format("encoder_fp16.tflite", tflite.write_float16, smallest_cosine=0.9999),
    # These two are as close as the protocol says they are.
    "tflite_dynamic": Format("encoder_dynamic.tflite", tflite.write_dynamic),
    "tflite_int8": Format(
        "encoder_int8.tflite", tflite.write_int8, needs_calibration=True, can_keep_float=True
    ),
}


def possible_formats(source: Source) -> list[str]:
    """Returns the names of the formats that are written where none is named."""
    possible = []
    for name, form in FORMATS.items():
        if form.only_if_asked:
            continue
        if source.calibration or not form.needs_calibration:
            possible.append(name)
    return possible
