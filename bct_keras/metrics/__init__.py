"""Measures what a search finds, by pure functions of numpy arrays: no model and no folder."""

from bct_keras.metrics.identification import tpir_at_fpir
from bct_keras.metrics.ranking import mean_average_precision, recall_at_k, top_k
from bct_keras.metrics.verification import tar_at_far, threshold_at_far

__all__ = [
    "mean_average_precision",
    "recall_at_k",
    "tar_at_far",
    "threshold_at_far",
    "top_k",
    "tpir_at_fpir",
]
