"""Measures encoders by protocols; protocols.py has them all."""
