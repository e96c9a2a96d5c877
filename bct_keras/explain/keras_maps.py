"""Heat maps of a Keras encoder by tf-keras-vis.

They show which pixels speak for the cosine to a reference embedding.

https://keisen.github.io/tf-keras-vis-docs; release 0.8.7 works with Keras 3.15 where the model has
a graph of layers, in float32, with its inputs in a list (subject.py sees to it). Score-CAM takes
every model for a classifier; what that needs is told below.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from bct_keras.explain.subject import Subject

CHANNELS = 64  # of Score-CAM, those that vary most: each costs a pass
SHARPNESS = 4.0  # of Score-CAM's softmax: with 1 the channels of a cosine all weigh about the same
NOISY_COPIES, NOISE = 16, 0.1  # of Saliency


def gradcam_plus_plus(subject: Subject, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the map of Grad-CAM++ (https://arxiv.org/abs/1710.11063)."""
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus

    explain = GradcamPlusPlus(subject.model)
    return explain(
        cosine_to(reference), pixels(image), subject.layer, seek_penultimate_conv_layer=False
    )[0]


def scorecam(subject: Subject, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the map of Score-CAM (https://arxiv.org/abs/1910.01279)."""
    from tf_keras_vis.scorecam import Scorecam

    cosine = cosine_to(reference)

    def score(classified: tf.Tensor) -> tf.Tensor:
        # tf-keras-vis gives the softmax of the outputs, (exp e, exp 0) / sum:
        # e = log(softmax / its last entry).
        embedding = tf.math.log(classified / classified[:, -1:])
        # It leaves out the paper's softmax over the channels, whose sum is a factor of the
        # whole map.
        return tf.exp(SHARPNESS * cosine(embedding))

    explain = Scorecam(subject.model)
    channels = min(CHANNELS, subject.layer.output.shape[-1])
    return explain(
        score, pixels(image), subject.layer, seek_penultimate_conv_layer=False, max_N=channels
    )[0]


def saliency(subject: Subject, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the map of SmoothGrad (https://arxiv.org/abs/1706.03825).

    It is the mean of |gradient| over noisy copies, and of that the strongest colour.
    """
    from tf_keras_vis.saliency import Saliency

    # tf-keras-vis can add noise itself, but takes a pass for each copy and draws anew on each run.
    random = np.random.default_rng(0)
    deviation = NOISE * np.ptp(image)
    noise = random.normal(0.0, deviation, (NOISY_COPIES, *image.shape))
    copies = tf.constant(image + noise, tf.float32)
    gradients = Saliency(subject.model)(
        cosine_to(reference), copies, keepdims=True, normalize_map=False
    )
    heat = np.mean(gradients, axis=0).max(-1)
    return (heat - heat.min()) / max(float(np.ptp(heat)), 1e-12)


def cosine_to(reference: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that scores embeddings by their cosines to a reference."""
    dims = len(reference)

    def cosines(output: tf.Tensor) -> tf.Tensor:
        embeddings = output[:, :dims]  # [batch, dims], of length 1
        return tf.reduce_sum(embeddings * reference, axis=-1)

    return cosines


def pixels(image: np.ndarray) -> tf.Tensor:
    """Returns an image as a batch of floats."""
    return tf.constant(image[None], tf.float32)
