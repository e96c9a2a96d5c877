"""Protocols: how encoders are measured. A new one is a file here and a line below."""

from bct_keras.evaluation.ijb import IJBB, IJBC
from bct_keras.evaluation.pairs import LFW, Pairs
from bct_keras.evaluation.retrieval import Retrieval

PROTOCOLS = {"ijbb": IJBB, "ijbc": IJBC, "lfw": LFW, "pairs": Pairs, "retrieval": Retrieval}
