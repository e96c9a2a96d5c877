"""What a margin makes of the cosine between an embedding and its own class: [batch] -> [batch]."""

import math
from collections.abc import Callable

import tensorflow as tf

from bct_keras.errors import InputError


def sine_of(cosine: tf.Tensor) -> tf.Tensor:
    # sqrt(1 - c^2) has an infinite gradient at |c| = 1, and 1 - 1e-7 is 1 in 16 bits
    return tf.sqrt(tf.maximum(1.0 - cosine * cosine, 1e-6))


def turn(cosine: tf.Tensor, margin) -> tf.Tensor:
    """`margin` is a number, or one for each row; the cosine rises again where t + m passes pi."""
    # cos(t + m) = cos t cos m - sin t sin m
    return cosine * tf.cos(margin) - sine_of(cosine) * tf.sin(margin)


def add_angle(cosine: tf.Tensor, margin) -> tf.Tensor:
    """As `turn`, and past pi it goes on falling as the released code has it: cos t - m sin m"""
    return tf.where(cosine > -tf.cos(margin), turn(cosine, margin), cosine - margin * tf.sin(margin))


def checked_angle(margin: float, head: str) -> float:
    # Below 0 it would be a help instead of a margin, and past pi too, where the sine turns round.
    if not 0 <= margin <= math.pi:
        raise InputError(f"margin={margin:g} of {head} has to be an angle in radians, from 0 to pi")
    return margin


def rotate(cosine: tf.Tensor, margin) -> tf.Tensor:
    """cos(t + m) for t + m held between 0 and pi; `margin` may be below 0."""
    angle = tf.atan2(sine_of(cosine), cosine)
    return tf.cos(tf.clip_by_value(angle + margin, 1e-3, math.pi - 1e-3))


def combine(cosine: tf.Tensor, factor: float, added: float, subtracted: float) -> tf.Tensor:
    """cos(m1 t + m2) - m3"""
    if factor == 1.0:
        return add_angle(cosine, added) - subtracted
    angle = factor * tf.atan2(sine_of(cosine), cosine) + added
    # Past pi as in SphereFace, so that it never rises again: (-1)^k cos a - 2k for a from k pi to (k + 1) pi
    half_turns = tf.maximum(tf.floor(angle / math.pi), 0.0)
    lower = 2.0 * half_turns
    return tf.where(half_turns % 2.0 == 0.0, tf.cos(angle) - lower, -lower - tf.cos(angle)) - subtracted


def passed_through(margin: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """The margin, with the gradient of no margin: InsightFace adds it where gradients are not recorded."""
    return lambda cosine, *given: cosine + tf.stop_gradient(margin(cosine, *given) - cosine)


GRADIENTS = {"exact": lambda margin: margin, "straight_through": passed_through}


def with_gradient(margin: Callable[..., tf.Tensor], gradient: str) -> Callable[..., tf.Tensor]:
    if gradient not in GRADIENTS:
        raise InputError(f"gradient={gradient!r} of a head has to be one of {', '.join(GRADIENTS)}")
    return GRADIENTS[gradient](margin)
