"""Reads JSON that anybody may have written, of limited size and depth."""

import json
import math
import re
from pathlib import Path
from typing import Any

from bct_keras.errors import InputError
from bct_keras.untrusted.reading import read_bytes, reason_of

LARGEST = 1 << 25  # bytes
MOST_VALUES = 2_000_000
DEEPEST = 100
LARGEST_WHOLE = 1 << 63
# A text, whose brackets do not count, or a bracket. `++` and `*+` never go back, so that no text is
# slow.
TEXT_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
KINDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "an object of keys and values",
}


def read_json(path: str | Path, largest: int = LARGEST) -> Any:
    """Returns what the file says; NaN and Infinity are taken as Python writes them.

    Args:
        path: The file.
        largest: A file of more bytes is refused.
    """
    return parse_json(read_bytes(path, largest), path, largest)


def read_object(path: str | Path, largest: int = LARGEST) -> dict[str, Any]:
    """Returns the keys and values that the file says; `largest` as for `read_json`."""
    found = read_json(path, largest)
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {shown(found)}, and {KINDS[dict]} was expected")
    return found


def parse_json(content: bytes, where: object, largest: int = LARGEST) -> Any:
    """Returns the value; `where` names the file in errors."""
    try:
        return value_of(content, largest)
    except ValueError as reason:
        raise InputError(f"{where} cannot be read as JSON: {reason}") from None


def value_of(content: bytes, largest: int = LARGEST) -> Any:
    """Returns the value; a ValueError tells a fault."""
    try:
        check_size(content, largest)
        found = READER.decode(content.decode("utf-8"))
        if HALF_CHARACTER.search(content):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except (ValueError, RecursionError) as reason:
        raise ValueError(told(reason)) from None


def check_size(content: bytes, largest: int) -> None:
    """Raises where a text is too long or too deep, before anything is made of it.

    A value takes up to 70 bytes, and a bracket a call of the reader.
    """
    if len(content) > largest:
        raise ValueError(f"it has more than {largest:,} bytes")
    brackets = content.count(b"[") + content.count(b"{")
    if content.count(b",") + brackets > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    if brackets <= DEEPEST:
        return
    depth = 0
    for found in TEXT_OR_BRACKET.finditer(content):
        if found[0] in b"[{":
            depth += 1
        elif found[0] in b"]}":
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(
                f"lists and objects lie {DEEPEST} deep in each other at byte {found.start()}"
            )


def finite(text: str) -> float:
    """Returns a number that is not too large."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def whole(text: str) -> int:
    """Returns a whole number that is not too large."""
    if len(text) > 20 or abs(int(text)) >= LARGEST_WHOLE:
        raise ValueError(f"the number {text[:40]} is too large")
    return int(text)


# One for all: a million small files are read after a large job.
READER = json.JSONDecoder(parse_float=finite, parse_int=whole)


def told(reason: Exception) -> str:
    """Returns what is wrong with a text, in words."""
    if isinstance(reason, UnicodeDecodeError):
        return f"byte {reason.start} is not of UTF-8"
    if isinstance(reason, UnicodeEncodeError):
        return "a text in it has half a character (a surrogate)"
    return reason_of(reason)


def field(found: Any, key: str, kind: type, where: object) -> Any:
    """Returns the value of a key that has to be there and of this kind.

    Whole numbers have to be 0 or more, and all numbers finite.
    """
    if not isinstance(found, dict):
        raise InputError(f"{where}: {KINDS[dict]} was expected, not {shown(found)}")
    if key not in found:
        raise InputError(f"{where} is not complete: '{key}' is missing")
    value = found[key]
    if kind is float and type(value) is int:
        return float(value)
    fits = type(value) is kind
    if fits and kind is int:
        fits = value >= 0
    if fits and kind is float:
        fits = math.isfinite(value)
    if not fits:
        raise InputError(f"{where}: '{key}' has to be {KINDS[kind]}, not {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Returns how a message shows a value, in 60 characters."""
    text = repr(value)
    if len(text) <= 60:
        return text
    return f"{text[:57]}..."
