"""Methods of backward-compatible training. A new one is a file here and a line below."""

from bct_keras.methods.independent import Independent
from bct_keras.methods.mixbct import MixBCT

METHODS = {"independent": Independent, "mixbct": MixBCT}
