from bct_keras.methods.method import Method


class Independent(Method):
    """No constraint: what the new encoder reaches when nobody searches its queries in the old gallery."""
