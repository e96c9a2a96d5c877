from typing import Any

import keras
import numpy as np

from bct_keras.callbacks.thawing import Thawing


def kernel_of(layer: keras.layers.Dense) -> Any:
    return keras.ops.convert_to_numpy(layer.kernel)


def test_layers_wait_for_their_epoch():
    image = keras.Input((3,))
    waiting = keras.layers.Dense(2)
    model = keras.Model(image, keras.layers.Dense(1)(waiting(image)))
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)  # as CompatibleModel.compile does
    first = kernel_of(waiting)
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(np.array_equal(kernel_of(waiting), first))
    )
    given = np.ones((4, 3)), np.ones((4, 1))
    model.fit(*given, epochs=3, verbose=0, callbacks=[Thawing([waiting], 2), look])  # pyright: ignore
    assert seen == [True, True, False]
    # A run that goes on in the second epoch
    model.fit(*given, initial_epoch=1, epochs=2, verbose=0, callbacks=[Thawing([waiting], 2)])  # pyright: ignore
    assert waiting.trainable
