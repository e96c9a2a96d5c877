"""Computes margins, functions of the cosine between an embedding and its own class.

They take [batch] and give [batch].
"""

import math
from collections.abc import Callable

import tensorflow as tf

from bct_keras.errors import InputError

Margin = Callable[..., tf.Tensor]


def sine_of(cosine: tf.Tensor) -> tf.Tensor:
    """Returns sin t for cos t, where the gradient stays finite at |cos t| = 1."""
    # sqrt(1 - c^2) has an infinite gradient there, and 1 - 1e-7 is 1 in 16 bits.
    return tf.sqrt(tf.maximum(1.0 - cosine * cosine, 1e-6))


def turn(cosine: tf.Tensor, margin) -> tf.Tensor:
    """Returns cos(t + m), which rises again where t + m passes pi.

    `margin` is a number, or one for each row.
    """
    # cos(t + m) = cos t cos m - sin t sin m
    return cosine * tf.cos(margin) - sine_of(cosine) * tf.sin(margin)


def add_angle(cosine: tf.Tensor, margin) -> tf.Tensor:
    """Returns cos(t + m) up to pi, and past it cos t - m sin m, which goes on falling.

    The released code has it so.
    """
    within = cosine > -tf.cos(margin)
    past = cosine - margin * tf.sin(margin)
    return tf.where(within, turn(cosine, margin), past)


def rotate(cosine: tf.Tensor, margin) -> tf.Tensor:
    """Returns cos(t + m) for t + m held between 0 and pi; `margin` may be below 0."""
    angle = tf.atan2(sine_of(cosine), cosine)
    held = tf.clip_by_value(angle + margin, 1e-3, math.pi - 1e-3)
    return tf.cos(held)


def combine(cosine: tf.Tensor, factor: float, added: float, subtracted: float) -> tf.Tensor:
    """Returns cos(m1 t + m2) - m3."""
    if factor == 1.0:
        return add_angle(cosine, added) - subtracted
    angle = factor * tf.atan2(sine_of(cosine), cosine) + added
    # Past pi as in SphereFace, so that it never rises again:
    # (-1)^k cos a - 2k for a from k pi to (k + 1) pi
    half_turns = tf.maximum(tf.floor(angle / math.pi), 0.0)
    lower = 2.0 * half_turns
    is_even = half_turns % 2.0 == 0.0
    falling = tf.cos(angle) - lower
    rising = -lower - tf.cos(angle)
    return tf.where(is_even, falling, rising) - subtracted


def checked_angle(margin: float, head: str) -> float:
    """Returns the margin, or raises where it is no angle between 0 and pi."""
    # Below 0 it would be a help instead of a margin, and past pi too, where the sine turns round.
    if not 0 <= margin <= math.pi:
        raise InputError(f"margin={margin:g} of {head} has to be an angle in radians, from 0 to pi")
    return margin


def unchanged(margin: Margin) -> Margin:
    """Returns the margin with its own gradient."""
    return margin


def passed_through(margin: Margin) -> Margin:
    """Returns the margin with the gradient of no margin.

    InsightFace adds the margin where gradients are not recorded.
    """

    def changed(cosine, *given):
        difference = margin(cosine, *given) - cosine
        return cosine + tf.stop_gradient(difference)

    return changed


GRADIENTS = {"exact": unchanged, "straight_through": passed_through}


def with_gradient(margin: Margin, gradient: str) -> Margin:
    """Returns the margin with the gradient of that name."""
    return GRADIENTS[checked_gradient(gradient)](margin)


def checked_gradient(gradient: str) -> str:
    """Returns the name of a gradient, or raises where there is none of that name."""
    if gradient not in GRADIENTS:
        known = ", ".join(GRADIENTS)
        raise InputError(f"gradient={gradient!r} of a head has to be one of {known}")
    return gradient
