"""Protocols: how encoders are measured. A new one is a file here and a line below."""

from bct_keras.evaluation.pairs import LFW, Pairs
from bct_keras.evaluation.retrieval import Retrieval

PROTOCOLS = {"lfw": LFW, "pairs": Pairs, "retrieval": Retrieval}
