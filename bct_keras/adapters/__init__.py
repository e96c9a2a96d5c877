"""Adapters: small maps between the embeddings of two encoders, both of which stay as they are.

A new one is a file here and a line in `fitting.ADAPTERS`.
"""

from bct_keras.adapters.adapter import Adapter
from bct_keras.adapters.descent import Descent
from bct_keras.adapters.fitting import ADAPTERS, fit
from bct_keras.adapters.linear import Linear
from bct_keras.adapters.procrustes import Procrustes
from bct_keras.adapters.residual import Residual

__all__ = ["ADAPTERS", "Adapter", "Descent", "Linear", "Procrustes", "Residual", "fit"]
