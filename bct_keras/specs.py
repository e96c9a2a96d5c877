"""Flags that carry their arguments: `arcface(margin=0.5, scale=64)` builds the table's "arcface".

A name may also be that of a class in a module of the user's own, see own_code.py.

`ast` reads each value. It cannot read the whole: a text such as `~/my photos` or `a=b` may stand
there without quotes, and is no Python.
"""

import ast
import inspect
import os
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from bct_keras.errors import InputError
from bct_keras.untrusted import own_code

LONGEST_SPEC = 10_000  # Python's own reader of literals goes deeper with each bracket
LARGEST_NUMBER = 1 << 62
SPEC = re.compile(r"(?P<name>[A-Za-z_][\w.:]*)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL)
KEYWORD = re.compile(r"(?P<key>[A-Za-z_]\w*)\s*=(?P<value>.*)", re.DOTALL)
PLAIN_TEXT = re.compile(r"[\w./-]+")
WORDS = {"true": True, "false": False}

Entry = Callable[..., Any]
Table = Mapping[str, Entry]
Parameters = Mapping[str, inspect.Parameter]


class Spec(NamedTuple):
    """A name and its arguments; the values are as they are written."""

    name: str
    positional: list[str]
    keywords: dict[str, str]


def parse(spec: str) -> Spec:
    """Splits `name(value, key=value)`."""
    match = SPEC.fullmatch(spec.strip()) if len(spec) <= LONGEST_SPEC else None
    if match is None:
        raise InputError(f"'{spec[:LONGEST_SPEC]}' is not of the form name or name(key=value, ...)")
    found = Spec(match["name"], [], {})
    for text in split_arguments(match["arguments"] or "", spec):
        keyword = KEYWORD.fullmatch(text)
        if keyword is not None:
            key = keyword["key"]
            if key in found.keywords:
                raise InputError(f"'{spec}' gives '{key}' twice")
            found.keywords[key] = keyword["value"].strip()
        elif found.keywords:
            raise InputError(f"'{spec}': '{text}' has to come before the arguments with a name")
        else:
            found.positional.append(text)
    return found


def split_arguments(text: str, spec: str) -> list[str]:
    """Cuts the text at the commas that stand outside brackets and quotes."""
    pieces = []
    start = 0
    for comma in outer_commas(text, spec):
        pieces.append(text[start:comma].strip())
        start = comma + 1
    last = text[start:].strip()
    if last:
        pieces.append(last)
    if "" in pieces:
        raise InputError(f"'{spec}' has an empty argument")
    return pieces


def outer_commas(text: str, spec: str) -> list[int]:
    """Returns where the commas are that stand outside brackets and quotes."""
    commas = []
    depth = 0  # of brackets
    quote = ""  # the one that is open
    escaped = False
    for place, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            commas.append(place)
        if depth < 0:
            break
    if depth or quote:
        raise InputError(f"'{spec}' has a bracket or a quote without its partner")
    return commas


def quoted(text: str) -> str:
    """Returns how a text stands in a spec: in quotes only where it would be read otherwise."""
    return text if PLAIN_TEXT.fullmatch(text) else repr(text)


def literal(text: str) -> Any:
    """Returns the value of a Python literal; what is none is taken as text, such as a path."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return WORDS.get(text, text)


def build(table: Table, spec: str, **given: Any) -> Any:
    """Calls the entry that `spec` names.

    Args:
        table: The entries by their names.
        spec: A name with arguments, such as `arcface(margin=0.5)`.
        **given: Further arguments; the entry gets those that it declares.
    """
    entry, arguments = bind(table, spec, given)
    for key in parameters_of(entry, spec):
        if key in given:
            arguments[key] = given[key]
    return entry(**arguments)


def bind(table: Table, spec: str, given: Collection[str]) -> tuple[Entry, dict[str, Any]]:
    """Returns the entry that `spec` names and its arguments, checked; nothing is called.

    Those in `given` are not the user's to set.
    """
    found = parse(spec)
    entry = entry_of(table, found.name, spec)
    parameters = settable(parameters_of(entry, found.name), given)
    takes = describe(found.name, parameters)
    written = by_name(found, parameters, spec, takes)
    arguments = {}
    for key, parameter in parameters.items():
        if key in written:
            arguments[key] = checked(written[key], key, parameter.annotation, spec)
        elif parameter.default is parameter.empty:
            raise InputError(f"'{spec}' lacks '{key}'; {takes}")
    return entry, arguments


def by_name(found: Spec, parameters: Parameters, spec: str, takes: str) -> dict[str, str]:
    """Returns what is written for each parameter, where it stands by place too."""
    if len(found.positional) > len(parameters):
        raise InputError(f"'{spec}' has too many arguments; {takes}")
    written = dict(zip(parameters, found.positional, strict=False))
    for key, value in found.keywords.items():
        if key not in parameters:
            raise InputError(f"unknown argument '{key}' in '{spec}'; {takes}")
        if key in written:
            raise InputError(f"'{spec}' gives '{key}' twice")
        written[key] = value
    return written


def entry_of(table: Table, name: str, spec: str) -> Entry:
    """Returns what the name stands for, in the table or in a module of the user's own."""
    entry = table.get(name)
    if entry is not None:
        return entry
    if ":" in name:
        entry = own_code.imported(name)
        own_code.check_kind(table, entry, spec)
        return entry
    names = ", ".join(sorted(table))
    known = f"{names}, or your own as module:name"
    hint = ""
    if os.path.exists(spec):
        hint = f"; a path stands in the brackets of one, as in {min(table)}({spec})"
    raise InputError(f"unknown name '{name}' in '{spec}'; known: {known}{hint}")


def parameters_of(entry: Entry, name: str) -> Parameters:
    """Returns the arguments that the entry takes, with those that it passes on to its bases."""
    try:
        signature = inspect.signature(entry, eval_str=True)
        found = dict(signature.parameters)
        for constructor in constructors_reached(entry):
            signature = inspect.signature(constructor, eval_str=True)
            _, *parameters = signature.parameters.values()  # the first is self
            for parameter in parameters:
                found.setdefault(parameter.name, parameter)
    except (ValueError, TypeError, NameError) as error:
        raise InputError(f"'{name}': which arguments it takes cannot be told: {error}") from None
    return found


def constructors_reached(entry: Entry) -> Iterator[Callable[..., None]]:
    """Yields the constructors that a class's options come to by `**options`, but not Keras's."""
    for base in inspect.getmro(entry) if isinstance(entry, type) else ():
        if base.__module__.startswith("keras."):
            return
        constructor = vars(base).get("__init__")
        if inspect.isfunction(constructor):
            yield constructor
            if not takes_any(constructor):
                return


def takes_any(function: Callable[..., Any]) -> bool:
    """Tells whether a function takes every argument by name."""
    parameters = inspect.signature(function).parameters.values()
    kinds = {parameter.kind for parameter in parameters}
    return inspect.Parameter.VAR_KEYWORD in kinds


def settable(parameters: Parameters, given: Collection[str]) -> dict[str, inspect.Parameter]:
    """Returns the parameters that a user may set by name."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {}
    for key, parameter in parameters.items():
        if parameter.kind in named and key not in given:
            found[key] = parameter
    return found


def describe(name: str, parameters: Parameters) -> str:
    """Returns a line that says what the entry of this name takes."""
    if not parameters:
        return f"{name} takes none"
    known = []
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty:
            known.append(key)
        else:
            known.append(f"{key}={parameter.default!r}")
    return f"{name} takes: {', '.join(known)}"


def checked(text: str, key: str, annotation: Any, spec: str) -> Any:
    """Returns the value of the declared type, which alone tells what was meant.

    A folder may be named `1.50`, and `0.3x` reads as text.
    """
    value = literal(text)
    if annotation is str:
        return value if isinstance(value, str) else text
    if isinstance(value, int | float) and not abs(value) < LARGEST_NUMBER:
        raise InputError(f"'{key}' in '{spec}' is larger than any number that is of use here")
    if isinstance(annotation, types.UnionType):  # such as int | None
        if value is None:
            return None
        annotation = annotation.__args__[0]
    if annotation is float and type(value) is int:
        return float(value)
    if annotation in (int, float, bool, tuple) and type(value) is not annotation:
        needed = annotation.__name__
        raise InputError(f"'{key}' in '{spec}' has to be of type {needed}, not {value!r}")
    return value


def require(kind: Any, made: Any, spec: str) -> None:
    """Raises where a function has made something else than it says."""
    if not isinstance(made, kind):
        found = type(made).__name__
        raise InputError(f"'{spec}' makes a {found}, and a {kind.__name__} is needed")
