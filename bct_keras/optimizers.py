"""Optimizers and learning rate schedules."""

import keras
from keras.optimizers.schedules import CosineDecay, PolynomialDecay


class SGD(keras.optimizers.SGD):
    """PyTorch's SGD: the decay is added to the gradient and so passes through the momentum."""

    def __init__(self, learning_rate, momentum: float = 0.9, l2: float = 5e-4):
        super().__init__(learning_rate, momentum=momentum)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        # b = momentum b + g + l2 w;  w -= lr b.  Keras keeps lr inside b, where a schedule reaches it late.
        step = gradient + self.l2 * variable
        if self.momentum:
            buffer = self.momentums[self._get_variable_index(variable)]
            step += self.momentum * buffer
            self.assign(buffer, step)
        self.assign_sub(variable, learning_rate * step)


def adamw(learning_rate, weight_decay: float = 0.01):
    return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)


def polynomial(learning_rate: float, steps: int, power: float = 1.0):
    return PolynomialDecay(learning_rate, steps, end_learning_rate=0.0, power=power)


def cosine(learning_rate: float, steps: int):
    return CosineDecay(learning_rate, steps)


OPTIMIZERS = {"sgd": SGD, "adamw": adamw}
SCHEDULES = {"polynomial": polynomial, "cosine": cosine}
