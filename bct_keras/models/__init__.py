"""Holds the model that is trained: backbone, method and head in Keras's own fit."""

from bct_keras.models.compatible import CompatibleModel as CompatibleModel
