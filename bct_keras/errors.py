"""What the user can mend."""


class InputError(Exception):
    """Bad input or a wrong request: one or two plain lines that say what, where, and what to do."""


class BadImageError(InputError):
    """One image or record that cannot be used, with its name and the reason; `--on_bad=skip` leaves it out."""


class UnfinishedError(InputError):
    """Work that was broken off from outside: what is done is kept, and the same command goes on from there."""
