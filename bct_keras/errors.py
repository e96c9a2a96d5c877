"""What the user can mend."""


class InputError(Exception):
    """Bad input or a wrong request: one or two plain lines that say what, where, and what to do."""


class BadImageError(InputError):
    """One image or record that cannot be used, with its name and the reason; `--on_bad=skip` leaves it out."""
