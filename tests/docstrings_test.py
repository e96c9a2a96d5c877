"""Tests that the examples in the docstrings of public names run, and give what they say."""

import doctest
import importlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import bct_keras
from bct_keras.methods.method import Training

# Each public name, by its module; a new one has a line here, and at least one example.
PUBLIC = {
    "bct_keras.adapters": ["Linear", "Procrustes", "Residual", "fit"],
    "bct_keras.adapters.fitting": ["option_names"],
    "bct_keras.adapters.linear": ["Regression"],
    "bct_keras.advise.units": ["duration", "figures", "size"],
    "bct_keras.heads": [
        "AdaFace",
        "ArcFace",
        "Combined",
        "CosFace",
        "MagFace",
        "NormFace",
        "Simplex",
        "Softmax",
        "SubcenterArcFace",
    ],
    "bct_keras.backbones.iresnet": ["iresnet_small"],
    "bct_keras.backbones.mobilefacenet": ["mobilefacenet"],
    "bct_keras.backbones.vit": ["vit_tiny"],
    "bct_keras.methods": [
        "AdvBCT",
        "BCT",
        "FD",
        "GalleryContrast",
        "HOC",
        "Independent",
        "L2",
        "LCE",
        "LwF",
        "MixBCT",
        "NCCL",
        "RACT",
        "UniBCT",
    ],
    "bct_keras.evaluate.comparison": ["compare"],
    "bct_keras.methods.gallerycontrast": ["gallery_contrast"],
    "bct_keras.methods.perturbation": ["perturbed"],
    "bct_keras.heads.simplex": ["corners"],
    "bct_keras.methods.old_embeddings": ["OldEmbeddings"],
    "bct_keras.metrics.baselines": ["procrustes_map"],
    "bct_keras.metrics.calibration": ["Calibration"],
    "bct_keras.metrics.odds": ["Odds"],
    "bct_keras.metrics": [
        "mean_average_precision",
        "recall_at_k",
        "tar_at_far",
        "threshold_at_far",
        "top_k",
        "tpir_at_fpir",
    ],
    "bct_keras.models.compatible": ["CompatibleModel"],
    "bct_keras.optimizers": ["AdamW", "Lamb", "SGD", "SGDW"],
    "bct_keras.pages.gain_plots": ["shortened"],
    "bct_keras.schedules": ["Later", "WarmUp"],
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names]


def given(module: Any) -> dict[str, Any]:
    """Returns what an example finds: the names of its module, TensorFlow and numpy."""
    public = {"bct": bct_keras, "bct_keras": bct_keras, "tf": tf, "np": np, "keras": keras}
    return {
        **public,
        "OldEmbeddings": bct_keras.OldEmbeddings,
        "Training": Training,
        **vars(module),
    }


@pytest.mark.parametrize(("module_name", "name"), NAMES)
def test_the_example_runs(module_name, name):
    module = importlib.import_module(module_name)
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(getattr(module, name), name, module=False, globs=given(module))
    assert found.examples, f"{module_name}.{name} has no example"
    told: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(found, out=told.append)
    assert not failed, "".join(told)
