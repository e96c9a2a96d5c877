"""A terminal that is only ever shown text."""

import re
from typing import TextIO

from bct_keras.printable import line

LAYOUT = re.compile(r"\n|\t")
# Bars go back to the start of their line, and up by one.
LAYOUT_OF_BARS = re.compile(r"\n|\t|\r|\x1b\[A")


class PlainStream:
    """Stands before a terminal, and only ever shows text.

    So it is whatever is printed, and wherever the names in it come from.
    """

    def __init__(self, stream: TextIO, layout: re.Pattern[str]):
        self.stream = stream
        self.layout = layout

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Writes the text with all that cannot be seen told by its number, but for the layout."""
        if not text.isprintable():
            parts = self.layout.split(text)
            ends = [*self.layout.findall(text), ""]
            text = ""
            for part, end in zip(parts, ends, strict=True):
                text += line(part) + end
        return self.stream.write(text)
