"""IJB-C: template features, scores and rates of self- and cross-test."""

from collections.abc import Mapping

import numpy as np

from bct_keras.evaluate.ijb import rates as ijb_rates
from bct_keras.evaluate.ijb import templates
from bct_keras.evaluate.ijb.rates import Listed, TemplatePairs
from bct_keras.metrics import identification
from bct_keras.metrics.roc import roc_curve
from bct_keras.metrics.verification import Embedded

TOLERANCE = 1e-6
TESTS = {"self_new": ("new", "new"), "self_old": ("old", "old"), "cross": ("new", "old")}
IMAGE_INPUTS = {"templates", "medias", "face_scores", "new", "new_flip", "old", "old_flip"}
RATE_INPUTS = {"p1", "p2", "label", "fars", "fpirs", "probe_templates", "probe_ids"}
GALLERY_INPUTS = {
    f"{gallery}_{field}" for gallery in ("g1", "g2") for field in ("templates", "ids")
}


def check(stored: Mapping[str, np.ndarray]):
    pooled = {name: pool(stored, name) for name in ("new", "old")}
    results = {f"{name}_template_features": side.embeddings for name, side in pooled.items()}
    for test, (query, gallery) in TESTS.items():
        results |= {
            f"{test}/{key}": value
            for key, value in rates(stored, pooled[query], pooled[gallery]).items()
        }
    inputs = IMAGE_INPUTS | RATE_INPUTS | GALLERY_INPUTS
    return inputs, {key: (value, TOLERANCE) for key, value in results.items()}


def pool(stored: Mapping[str, np.ndarray], name: str) -> Embedded:
    numbers, rows = np.unique(stored["templates"], return_inverse=True)
    features = stored[name] + stored[f"{name}_flip"]
    weights = templates.image_weights(
        features,
        stored["templates"],
        stored["medias"],
        stored["face_scores"],
        normalise_first=False,
    )
    return Embedded(templates.pool(features, rows, len(numbers), weights), np.arange(len(numbers)))


def rates(
    stored: Mapping[str, np.ndarray], query: Embedded, gallery: Embedded
) -> dict[str, np.ndarray]:
    """Of features that were pooled before."""

    def rows(name: str) -> np.ndarray:
        return np.searchsorted(np.unique(stored["templates"]), stored[name])

    pairs = TemplatePairs(rows("p1"), rows("p2"), stored["label"] > 0)
    scores = pairs.scores(query, gallery)
    roc = roc_curve(scores[pairs.genuine], scores[~pairs.genuine], pairs.repeated)
    results = {"scores": scores, "auc": np.array(roc.auc)}
    results["tar"] = np.array([roc.tar_nearest(far) for far in stored["fars"]])
    probes = Listed(rows("probe_templates"), stored["probe_ids"])
    for name in ("g1", "g2"):
        found = ijb_rates.search(
            query, gallery, probes, Listed(rows(f"{name}_templates"), stored[f"{name}_ids"])
        )
        thresholds = [identification.threshold_at(found, fpir) for fpir in stored["fpirs"]]
        results[f"{name}_threshold"] = np.array(thresholds)
        results[f"{name}_tpir"] = np.array(
            [identification.tpir(found, threshold) for threshold in thresholds]
        )
        results[f"{name}_top1_5_10"] = np.array(identification.rank_counts(found, (1, 5, 10)))
    return results
