"""Galleries of old and new embeddings; kinds.py has them all."""
