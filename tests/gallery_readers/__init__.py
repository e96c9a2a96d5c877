"""Readers of a gallery file in Python, C and JavaScript, asked the same questions."""
