"""Explanations: what in an image speaks for the cosine of its embedding to a reference."""
