"""The names and defaults that the flags show, without the code that they stand for.

`--help` answers at once only where it imports nothing of Keras. So each name stands here a second
time; tests/command/choices_test.py holds the lists to the tables of the library.
"""

ADAPTERS = ("linear", "procrustes", "residual")
BACKBONES = (
    "iresnet18",
    "iresnet34",
    "iresnet50",
    "iresnet100",
    "iresnet200",
    "iresnet_small",
    "mobilefacenet",
    "vit_tiny",
    "vit_small",
    "vit_base",
    "applications",
)
DIRECTIONS = ("query", "gallery")
FORMATS = (
    "saved_model",
    "tflite",
    "tflite_batch",
    "tflite_fp16",
    "tflite_dynamic",
    "tflite_int8",
)
HEADS = (
    "adaface",
    "arcface",
    "combined",
    "cosface",
    "magface",
    "normface",
    "simplex",
    "softmax",
    "subcenter_arcface",
)
KINDS_OF_MAP = (*ADAPTERS, "none")  # none: only --fuse
METHODS = (
    "advbct",
    "bct",
    "fd",
    "gallerycontrast",
    "hoc",
    "independent",
    "l2",
    "lce",
    "lwf",
    "mixbct",
    "nccl",
    "ract",
    "two_outputs",
    "unibct",
)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCENARIOS = ("open", "extended")
SCENARIOS_OF_BENCHMARK = ("open-class", "open-data", "extended-class", "extended-data")
STRATEGIES = ("auto", "one", "mirrored", "multiworker")

MARGIN = 0.01
PAIRS = 8000
