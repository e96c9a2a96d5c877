"""What the user can mend."""

from bct_keras.printable import line

LONGEST_LINE = 2000


class InputError(Exception):
    """Bad input or a wrong request: one or two plain lines that say what, where, and what to do.

    Each argument is a line. Names from files stand in them: a line break or an escape code inside is shown, not obeyed.
    """

    def __init__(self, *lines: object):
        super().__init__(*(shortened(line(each)) for each in lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


def shortened(text: str) -> str:
    """Returns the text without its middle where nobody would read it: what a file holds may be a million letters."""
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 2 :]}"


class BadImageError(InputError):
    """One image or record that cannot be used, with its name and the reason; `--on_bad=skip` leaves it out."""


class UnfinishedError(InputError):
    """Work that was broken off from outside: what is done is kept, and the same command goes on from there."""
