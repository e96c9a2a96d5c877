"""AdvBCT: boundaries, discriminator and their gradients, as MixBCT's authors released them.

The keys under authors/ are of the repository of AdvBCT's own authors, which has no factors of 4 and
gives the discriminator the embeddings at their own lengths. That is no option of ours: those keys
check the same parts, called with such embeddings.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from bct_keras.methods import class_features
from bct_keras.methods.advbct import AdvBCT
from bct_keras.methods.method import Training, unit

TOLERANCE = 1e-5
CASES = ("start", "early", "half", "end", "inside")
INPUTS = {
    "old_features",
    "old_labels",
    "batch_index",
    "labels",
    "new_embeddings",
    "inside/new_embeddings",
}
INPUTS |= {
    "threshold",
    "p2s_weight",
    "adv_weight",
    "bn_epsilon",
    "bn_momentum",
    "epochs",
    "steps_per_epoch",
}
INPUTS |= {f"weights/{part}_{kind}" for part in ("fc1", "bn", "fc2") for kind in ("weight", "bias")}
INPUTS |= {"weights/elastic"} | {
    f"{case}/{name}" for case in CASES for name in ("epoch", "batch_in_epoch")
}
INPUTS |= {
    f"authors/{name}" for name in ("has_old_statistics", "threshold", "epochs", "steps_per_epoch")
}
INPUTS |= {"authors/epoch", "authors/batch_in_epoch"}
OF_DISCRIMINATOR = (
    "d_fc1_weight",
    "d_fc1_bias",
    "d_bn_weight",
    "d_bn_bias",
    "d_fc2_weight",
    "d_fc2_bias",
)


def check(stored):
    results = {key: (value, TOLERANCE) for key, value in of_classes(stored).items()}
    for case in (*CASES, "authors"):
        for name, value in of_case(case, stored).items():
            if f"{case}/{name}" in stored:
                results[f"{case}/{name}"] = (value, TOLERANCE)
    return INPUTS, results


def of_classes(stored) -> dict[str, np.ndarray]:
    features, labels = stored["old_features"], stored["old_labels"]
    found = [
        class_features.centres_and_radii(features[None, labels == label])
        for label in np.unique(labels)
    ]
    centres, radii, kept = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return {"centres": centres, "radius": radii, "radius_count": kept}


def of_case(case: str, stored) -> dict[str, Any]:
    """Every value that any case stores"""
    authors = case == "authors"
    timing = "authors/" if authors else ""
    epochs, steps_per_epoch = (
        int(stored[f"{timing}epochs"]),
        int(stored[f"{timing}steps_per_epoch"]),
    )
    method = built(
        stored, float(stored[f"{timing}threshold"]), epochs, epochs * steps_per_epoch, authors
    )
    step = tf.constant(
        int(stored[f"{case}/epoch"]) * steps_per_epoch + int(stored[f"{case}/batch_in_epoch"]),
        tf.int64,
    )
    strength = method.reversal(step)
    labels = tf.constant(stored["labels"], tf.int32)
    new = tf.constant(stored["inside/new_embeddings" if case == "inside" else "new_embeddings"])
    old = tf.constant(stored["old_features"][stored["batch_index"]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(new)
        excess = method.set_weight * method.point_to_set(unit(new), labels)
        seen = (new, old) if authors else (unit(new), unit(old))
        unweighted = tf.reduce_mean(method.adversarial(*seen, strength))
        to_set = tf.reduce_mean(excess)
        adversarial = method.adversarial_weight * method.fade(step) * unweighted
        total = to_set + adversarial
        if not authors:  # the hook that training calls
            batch = {"old_embedding": old, "step": step}
            total = tf.reduce_mean(method.penalty(new, labels, batch, None))
    found = {
        "progress": int(step) / method.steps,
        "reversal": strength.numpy(),
        "adv_factor": method.adversarial_weight * method.fade(step).numpy(),
        "outside_count": np.count_nonzero(excess),
        "p2s": to_set.numpy(),
        "adv_unweighted": unweighted.numpy(),
        "adv": adversarial.numpy(),
        "total": total.numpy(),
        "elastic_radius": method.boundaries().numpy()[stored["labels"]],
        "d_new_embeddings_p2s": gradient(tape, to_set, new),
        "d_new_embeddings_adv": gradient(tape, adversarial, new),
        "d_new_embeddings": gradient(tape, total, new),
        "d_elastic": gradient(tape, total, method.elastic.value),
    }
    hidden, norm, verdict = method.hidden, method.norm, method.verdict
    weights = (hidden.kernel, hidden.bias, norm.gamma, norm.beta, verdict.kernel, verdict.bias)
    for name, weight in zip(OF_DISCRIMINATOR, weights, strict=True):
        found[name] = gradient(tape, total, weight.value).T
    # Nothing but rounding: the normalisation takes a bias away. It is compared with the size of the
    # other gradients.
    rounding = TOLERANCE * np.abs(found["d_fc1_weight"]).max()
    stored_bias = stored.get(f"{case}/d_fc1_bias")
    if (
        stored_bias is not None
        and max(np.abs(found["d_fc1_bias"]).max(), np.abs(stored_bias).max()) < rounding
    ):
        found["d_fc1_bias"] = stored_bias
    return found | of_statistics(stored, seen)


def of_statistics(stored, seen: tuple[tf.Tensor, tf.Tensor]) -> dict[str, np.ndarray]:
    """The discriminator's outputs, and its running statistics after one call for new and one for
    old.
    """
    method = built(stored, threshold=0.4, epochs=1, steps=1)
    found = {}
    for name, embeddings in zip(("new", "old"), seen, strict=True):
        found[f"log_probabilities_{name}"] = tf.nn.log_softmax(
            method.discriminator(embeddings), axis=1
        ).numpy()
    found["bn_running_mean"] = method.norm.moving_mean.numpy()
    # PyTorch keeps the variance that is divided by n - 1, Keras the one divided by n. Of the start
    # 0.9^2 is left.
    rows = len(stored["labels"])
    left = float(method.norm.momentum) ** 2
    found["bn_running_var"] = left + (method.norm.moving_variance.numpy() - left) * rows / (
        rows - 1
    )
    return found


def built(stored, threshold: float, epochs: int, steps: int, authors: bool = False) -> Any:
    weights = (1.0, 1.0) if authors else (float(stored["p2s_weight"]), float(stored["adv_weight"]))
    method: Any = AdvBCT(threshold, *weights)
    kept = (
        np.where(stored["authors/has_old_statistics"], stored["radius_count"], 0)
        if authors
        else None
    )
    features = {
        "centres": stored["centres"],
        "radii": stored["radius"],
        "kept": stored["radius_count"] if kept is None else kept,
    }
    classes, dims = stored["centres"].shape
    old: Any = SimpleNamespace(feature=features.__getitem__)
    method.prepare(old, Training(classes, dims, epochs, steps))
    method.build()
    method.elastic.assign(stored["weights/elastic"])
    for layer, name in ((method.hidden, "fc1"), (method.norm, "bn"), (method.verdict, "fc2")):
        first, second = layer.trainable_weights
        first.assign(stored[f"weights/{name}_weight"].T)
        second.assign(stored[f"weights/{name}_bias"])
    return method


def gradient(tape: tf.GradientTape, loss: tf.Tensor, variable: Any) -> np.ndarray:
    found: Any = tape.gradient(loss, variable)
    return (
        np.zeros(variable.shape, np.float32)
        if found is None
        else tf.convert_to_tensor(found).numpy()
    )
