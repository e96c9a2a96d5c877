"""Devices, replicas and workers: where a training runs, and what its parts say to each other."""
