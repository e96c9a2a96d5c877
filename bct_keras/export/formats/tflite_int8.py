"""Quantises a .tflite file to eight bits, by LiteRT's own quantiser.

Activations get the ranges that calibration saw, and weights a scale for each channel. What the
quantiser does not know in eight bits stays in float.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import qtyping
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.calibrator import CalibrationMode, Calibrator
from litert_quantizer.quantizer import Quantizer
from litert_quantizer.recipe_manager import RecipeManager
from litert_quantizer.utils import qsv_utils
from litert_quantizer.utils.validation_utils import ValidationErrorMetric

from bct_keras import no_standard_error
from bct_keras.export.formats import flatbuffer

SIGNATURE, IMAGE = "serving_default", "image"
SENSITIVITY_IMAGES = 16
ALL_NAMES = ".*"


def quantised(exact: bytes, images: np.ndarray, kept_float: float) -> tuple[bytes, int]:
    """Returns the file in eight bits, and how many operations were kept in float.

    Args:
        exact: The file in float32.
        images: Give activations their ranges, [images, size, size, 3] uint8.
        kept_float: The share of the operations to keep: those that lose most by it.
    """
    exact = with_own_names(exact)
    inputs = [{IMAGE: image[None]} for image in images]
    with no_standard_error():  # LiteRT tells of each delegate, and the quantiser how far it is
        everything = quantiser(exact)
        ranges = ranges_of(exact, inputs)
        content = written(everything, ranges)
        sensitive = []
        if kept_float:
            errors = error_shares(everything, inputs[:SENSITIVITY_IMAGES])
            sensitive = most_sensitive(exact, content, errors, kept_float)
            content = written(quantiser(exact, sensitive), ranges)
    return with_outputs_of(exact, content), len(sensitive)


def with_own_names(content: bytes) -> bytes:
    """Returns the same model, with a name for each tensor that no other has, without signs."""
    model = flatbuffer.model_of(content)
    for graph in model.subgraphs:
        for place, tensor in enumerate(graph.tensors):
            tensor.name = f"tensor {place}"
    return flatbuffer.packed(model)


def quantiser(exact: bytes, kept: Collection[str] = ()) -> Quantizer:
    """Returns what quantises a file, but not its outputs nor the operations that give `kept`.

    Of an embedding of length 1 a coordinate of 512 would have six values in eight bits.
    """
    found = Quantizer(bytearray(exact))
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    found.add_static_config(ALL_NAMES, every, activation_num_bits=8, weight_num_bits=8)
    found.update_quantization_recipe(
        ALL_NAMES, qtyping.TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE
    )
    for name in kept:  # the quantiser writes a semicolon behind each
        found.update_quantization_recipe(
            f"^{name};", every, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    return found


def ranges_of(exact: bytes, inputs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Returns the least and the greatest number that each tensor has had.

    The quantiser itself takes moving averages of them, which cut off what is rare.
    """
    calibrator = Calibrator(
        exact,
        num_threads=1,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=qsv_utils.min_max_update,
    )
    calibrator.calibrate({SIGNATURE: inputs}, RecipeManager())
    return calibrator.get_model_qsvs()


def written(quantizer: Quantizer, ranges: dict[str, Any]) -> bytes:
    """Returns the file that a quantiser makes."""
    made = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    assert made.quantized_model is not None
    return bytes(made.quantized_model)


def with_outputs_of(exact: bytes, content: bytes) -> bytes:
    """Returns the file with the outputs of the one in float32, which are tensors in float.

    Of an output that is an operation's input too the quantiser gives the one in eight bits.
    """
    given = flatbuffer.model_of(exact).subgraphs[0]
    model = flatbuffer.model_of(content)
    graph = model.subgraphs[0]
    place_of = {tensor.name: place for place, tensor in enumerate(graph.tensors)}
    graph.outputs = [place_of[given.tensors[place].name] for place in given.outputs]
    return flatbuffer.packed(model)


def error_shares(quantizer: Quantizer, inputs: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Returns what rounding makes of each tensor: mean (found - exact)^2 / mean exact^2."""
    metric = ValidationErrorMetric.SNR  # mean exact^2 / mean (found - exact)^2
    compared = quantizer.validate({SIGNATURE: inputs}, [metric], num_threads=1)
    errors = {}
    for name, found in compared.get_all_tensor_results().items():
        errors[name] = 1 / max(found[metric.value], 1e-30)
    return errors


def most_sensitive(
    exact: bytes, quantised: bytes, errors: dict[str, float], share: float
) -> list[str]:
    """Returns the outputs of those operations that add most to the error of their inputs.

    Args:
        exact: The file in float32.
        quantised: The same in eight bits, with the same names.
        errors: The share of rounding in each tensor.
        share: How many of the operations in eight bits are wanted.
    """
    in_eight_bits = set()
    for tensor in flatbuffer.model_of(quantised).subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8:
            in_eight_bits.add(tensor.name)
    graph = flatbuffer.model_of(exact).subgraphs[0]
    added = {}
    for operation in graph.operators:
        output = graph.tensors[operation.outputs[0]].name
        if output not in in_eight_bits:
            continue
        before = 0.0
        for place in operation.inputs:
            if graph.tensors[place].name in in_eight_bits:
                before = max(before, errors.get(graph.tensors[place].name.decode(), 0.0))
        added[output.decode()] = errors[output.decode()] - before
    ordered = sorted(added, key=lambda name: added[name], reverse=True)
    return ordered[: math.ceil(share * len(ordered))]
