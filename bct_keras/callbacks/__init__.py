"""What goes on around the steps of `fit`: what is seen, what is watched, and what is kept."""

from bct_keras.callbacks.watching import FiniteLoss, MetricsFile, TimesFile, TrainingProgress

__all__ = ["FiniteLoss", "MetricsFile", "TimesFile", "TrainingProgress"]
