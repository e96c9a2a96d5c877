"""What the user can mend."""


class InputError(Exception):
    """Bad input or a wrong request: one or two plain lines that say what, where, and what to do."""
