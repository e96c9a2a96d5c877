"""What the user can mend, and how a message names an option."""

import contextlib
from collections.abc import Iterator

from bct_keras.printable import line

LONGEST_LINE = 2000
_said_as_flags = False


class InputError(Exception):
    """Bad input or a wrong request: one or two plain lines that say what, where, and what to do.

    Each argument is a line. Names from files stand in them: a line break or an escape code inside
    is shown, not obeyed.
    """

    def __init__(self, *lines: object):
        shown = [shortened(line(each)) for each in lines]
        super().__init__(*shown)

    def __str__(self) -> str:
        return "\n".join(self.args)


def shortened(text: str) -> str:
    """Returns the text without its middle, where it is so long that nobody would read it.

    What a file holds may be a million letters.
    """
    if len(text) <= LONGEST_LINE:
        return text
    half = LONGEST_LINE // 2
    return f"{text[:half]} ... {text[-half:]}"


def option(name: str, value: object = None) -> str:
    """Returns how a message names an option, with its value where one is given.

    A caller in Python reads the name of an argument, and whoever runs a command that of a flag:
    what raises an error knows the option, and the command (`options_as_flags`) how it is written
    there. Warnings and cards name options by it too.

    Example:
        >>> option("dims", 4), option("synchronized", False)
        ('dims=4', 'synchronized=False')
        >>> with options_as_flags():
        ...     option("dims"), option("dims", 4)
        ...     option("mirror", True), option("synchronized", False)
        ('--dims', '--dims=4')
        ('--mirror', '--nosynchronized')
    """
    if _said_as_flags and isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    text = name if value is None else f"{name}={value}"
    return f"--{text}" if _said_as_flags else text


@contextlib.contextmanager
def options_as_flags() -> Iterator[None]:
    """Lets messages name options as flags; `command` does everything that it runs within this."""
    global _said_as_flags  # not a context variable, which other threads would not see
    before, _said_as_flags = _said_as_flags, True
    try:
        yield
    finally:
        _said_as_flags = before


class BadImageError(InputError):
    """One image or record that cannot be used, with its name and the reason.

    `on_bad=skip` leaves it out.
    """


class UnfinishedError(InputError):
    """Work that was broken off from outside.

    What is done is kept, and the same command goes on from there.
    """
