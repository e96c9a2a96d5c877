"""What methods need of the old embeddings: credible rows, prototypes, centres and radii."""

import re
import tempfile
from pathlib import Path

import numpy as np

from bct_keras.embed.by_class import map_classes
from bct_keras.embed.credible import column_norms
from bct_keras.methods import class_features

TOLERANCE = 1e-5
UNIBCT_TOLERANCE = 1e-4
INPUTS = {"old_features", "new_features", "labels"}


def by_class(stored, function, folder: Path):
    """`function(old, new)` of every class, from three shards over which the classes are strewn."""
    order = np.random.default_rng(0).permutation(len(stored["labels"]))
    sources = []
    for field in ("old_features", "new_features"):
        sources.append([folder / f"{field}{part}.npy" for part in range(3)])
        for path, rows in zip(sources[-1], np.array_split(stored[field][order], 3), strict=True):
            np.save(path, rows)
    found = map_classes(
        lambda block: function(*block.embeddings), stored["labels"][order], sources, "classes"
    )
    for block, result in found:
        yield block.classes, order[block.records], result


def credible(stored, share: float, normalised: str, folder: Path) -> np.ndarray:
    np.save(folder / "all.npy", stored["old_features"])
    norms = column_norms([folder / "all.npy"]) if normalised == "rows_then_columns" else None
    rows = np.zeros(len(stored["labels"]), bool)
    for _, records, kept in by_class(
        stored, lambda old, new: class_features.credible(old, share, norms), folder
    ):
        rows[records] = kept
    return rows


def per_class(stored, function, folder: Path) -> np.ndarray:
    found = list(by_class(stored, function, folder))
    classes = np.concatenate([classes for classes, _, _ in found])
    return np.concatenate([values for _, _, values in found])[np.argsort(classes)]


def check(stored):
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key in stored:
            if match := re.fullmatch(r"credible_T([\d.]+)_(\w+)", key):
                results[key] = (credible(stored, float(match[1]), match[2], folder), 0.0)
            if re.fullmatch(r"unibct_prototypes_lam[\d.]+_temp[\d.]+", key):
                # Plain means, whatever lambda and the temperature are: see
                # class_features.refined_prototypes
                means = per_class(stored, lambda old, new: class_features.means(old), folder)
                results[key] = (means, UNIBCT_TOLERANCE)
        prototypes = per_class(stored, lambda old, new: class_features.prototypes(old), folder)
        results["bct_prototypes"] = (prototypes, TOLERANCE)
        for place, key in enumerate(["advbct_centers", "advbct_radius", "advbct_radius_count"]):

            def part(old, new, place=place):
                return class_features.centres_and_radii(old)[place]

            results[key] = (per_class(stored, part, folder), TOLERANCE)
    return INPUTS, results
