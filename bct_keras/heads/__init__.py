"""Heads: embeddings and labels in, a loss per example out. A new one is a file here and a line below."""

from bct_keras.heads.arcface import ArcFace
from bct_keras.heads.softmax import Softmax

HEADS = {"arcface": ArcFace, "softmax": Softmax}
