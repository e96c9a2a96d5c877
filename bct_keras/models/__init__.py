"""Holds the model that is trained: backbone, method and head in Keras's own fit."""

# Whatever a saved model may hold is registered where the model is.
from bct_keras import adapters as adapters
from bct_keras import heads as heads
from bct_keras import methods as methods
from bct_keras import optimizers as optimizers
from bct_keras import schedules as schedules
from bct_keras.models.compatible import CompatibleModel as CompatibleModel
