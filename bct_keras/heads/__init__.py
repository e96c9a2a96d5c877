"""Holds the heads: embeddings and labels in, a loss per example out.

A new one is a file here and a line below.
"""

from bct_keras.heads.adaface import AdaFace
from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.combined import Combined
from bct_keras.heads.cosface import CosFace
from bct_keras.heads.magface import MagFace
from bct_keras.heads.normface import NormFace
from bct_keras.heads.simplex import Simplex
from bct_keras.heads.softmax import Softmax
from bct_keras.heads.subcenter_arcface import SubcenterArcFace

HEADS = {
    "adaface": AdaFace,
    "arcface": ArcFace,
    "combined": Combined,
    "cosface": CosFace,
    "magface": MagFace,
    "normface": NormFace,
    "simplex": Simplex,
    "softmax": Softmax,
    "subcenter_arcface": SubcenterArcFace,
}
