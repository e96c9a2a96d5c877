"""Holds the methods of backward-compatible training.

A method keeps the new embedding compatible with the old one while it is trained. A new method is a
file here and a line below.
"""

from bct_keras.methods.advbct import AdvBCT
from bct_keras.methods.bct import BCT
from bct_keras.methods.fd import FD
from bct_keras.methods.gallerycontrast import GalleryContrast
from bct_keras.methods.hoc import HOC
from bct_keras.methods.independent import Independent
from bct_keras.methods.l2 import L2
from bct_keras.methods.lce import LCE
from bct_keras.methods.lwf import LwF
from bct_keras.methods.method import Method as Method
from bct_keras.methods.mixbct import MixBCT
from bct_keras.methods.nccl import NCCL
from bct_keras.methods.ract import RACT
from bct_keras.methods.two_outputs import TwoOutputs
from bct_keras.methods.unibct import UniBCT

METHODS = {
    "advbct": AdvBCT,
    "bct": BCT,
    "fd": FD,
    "gallerycontrast": GalleryContrast,
    "hoc": HOC,
    "independent": Independent,
    "l2": L2,
    "lce": LCE,
    "lwf": LwF,
    "mixbct": MixBCT,
    "nccl": NCCL,
    "ract": RACT,
    "two_outputs": TwoOutputs,
    "unibct": UniBCT,
}
