"""Keras's private interfaces, each behind a short function of its own.

Keras may change them in any version. `tests/_keras_test.py` has a test named after each, so that an
update that breaks one says which.
"""

from typing import Any

import keras


def variables_of(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the variables that an optimizer was built for.

    Its own `variables` are what it keeps of them.
    """
    return list(optimizer._trainable_variables)


def variable_index(optimizer: keras.Optimizer, variable: Any) -> int:
    """Returns which of its variables this one is to an optimizer, also as a copy on one device.

    Keras's documentation uses it in its example of an optimizer, and has no public name for it.
    """
    return optimizer._get_variable_index(variable)


def moments_of(optimizer: Any) -> tuple[list[keras.Variable], list[keras.Variable]]:
    """Returns Adam's means of the gradients and of their squares, one of each a variable."""
    return optimizer._momentums, optimizer._velocities


def layers_within(model: Any) -> list[keras.layers.Layer]:
    """Returns the model and all layers in it, also those inside a layer that is no model."""
    return list(model._flatten_layers())


def shapes_within(model: Any, inputs: list[Any]) -> list[keras.KerasTensor]:
    """Returns what all layers of a graph give for symbolic inputs, also those of models within it.

    `layer.output` has the shape of its first call, which in a network for images of any size is not
    known. A model without a graph counts as one layer.
    """
    found: list[keras.KerasTensor] = []

    def noting(operation: Any) -> Any:
        def note(*arguments: Any, **options: Any) -> Any:
            outputs = operation.compute_output_spec(*arguments, **options)
            if isinstance(operation, keras.Model) and operation.inputs:
                found.extend(shapes_within(operation, list(arguments)))
            else:
                found.extend(keras.tree.flatten(outputs))
            return outputs

        return note

    # A Sequential model has its layers in a graph, too, but does not show it.
    graph: Any = keras.Model(model.inputs, model.outputs)
    graph._run_through_graph(inputs, operation_fn=noting)
    return found


class BuiltByHand(keras.Model):
    """A model whose variables are all made before `fit`.

    Keras would try a step on symbolic tensors before the first one, and cannot take the batches of
    several workers apart for that.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing."""


def shown_loss(model: Any) -> keras.metrics.Metric:
    """Returns the mean that a compiled model shows as "loss"."""
    return model._loss_tracker
