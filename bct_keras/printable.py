"""Text of others as it may stand on a terminal or in Markdown.

Names and ids come from files that anybody may make.
"""

import re
import shlex
from collections.abc import Mapping

# What Markdown reads as more than a character, wherever it stands. An underline counts at the edge
# of a word alone.
MARKED = re.compile(
    r"[\\`*\[\]<>~&$]|(?<!\w)_|_(?!\w)|(?<=\w)(?=://)|(?<=www)(?=\.)", re.IGNORECASE
)
# A heading, a list, a rule, or a line under a heading.
MARKED_AT_START = re.compile(r"^(?=(?:#{1,6}|[+-])\s|=+$|-{2,}$|\s)|(?<=^\d)(?=[.)]\s)")


def line(text: object) -> str:
    """Returns the text as one line of what can be seen.

    Told by their numbers are control and escape codes, line breaks, what turns the direction of
    writing or has no width, blanks other than the blank, and surrogates, which stand for bytes of a
    file's name that are not UTF-8.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else escape_of(ord(each)) for each in text)


def escape_of(number: int) -> str:
    """Returns how a character that cannot be seen is told, by its number."""
    if 0xDC80 <= number <= 0xDCFF:  # Python's stand-in for a byte of a file's name
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    if number < 0x10000:
        return f"\\u{number:04x}"
    return f"\\U{number:08x}"


def markdown(text: object) -> str:
    """Returns the text as Markdown that shows just these characters.

    `table_row` takes care of a cell's end.
    """
    shown = MARKED.sub(lambda found: f"\\{found[0]}", line(text))
    return MARKED_AT_START.sub("\\\\", shown)


def code(text: object) -> str:
    """Returns the text as Markdown's inline code.

    It is fenced by more backticks than it holds in a row.
    """
    shown = line(text)
    runs = [len(run) for run in re.findall("`+", shown)]
    fence = "`" * (1 + max(runs, default=0))
    # A backtick at an edge would join the fence, so a blank, which Markdown takes away, stands
    # between.
    at_edge = shown.startswith("`") or shown.endswith("`")
    edge = " " if at_edge or not shown.strip() else ""
    return f"{fence}{edge}{shown}{edge}{fence}"


def table_row(cells: list[str]) -> str:
    """Returns a row of a Markdown table; the cells are Markdown already."""
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


# In commands to type, the gallery and the images where nobody has named any.
GALLERY = "file(people.gallery)"
DATA = "DATA"


def command_line(command: str, flags: Mapping[str, str | list[str] | bool]) -> list[str]:
    """Returns the words of a command as a shell takes them.

    Example:
        >>> " ".join(command_line("adapt", {"fuse": True, "protocol": ["retrieval(a b)"]}))
        "bct adapt --fuse --protocol='retrieval(a b)'"
    """
    words = [f"bct {command}"]
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
            continue
        for each in value if isinstance(value, list) else [value]:
            words.append(f"--{name}={shlex.quote(str(each))}")
    return words
