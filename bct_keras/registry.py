"""Flags that carry their arguments: `arcface(margin=0.5, scale=64)` builds the table's "arcface".

A name may also be that of a class in a module of the user's own: `my_package.my_method:MyMethod(x=1)`. To name a module
is to run it, as Python does at every import; of what it holds only that is called which says that it is of the kind
needed: a class by what it derives from, a function by what its annotation says that it returns.

`ast` reads each value. It cannot read the whole: a text such as `~/my photos` or `a=b` may stand there without quotes,
and is no Python.
"""

import ast
import importlib
import inspect
import os
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from bct_keras.errors import InputError

LONGEST_SPEC = 10_000  # Python's own reader of literals goes deeper with each bracket
LARGEST_NUMBER = 1 << 62
OPTIONAL = {"notes"}  # what all classes of a table have, and one of the user's own need not have
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
    """Returns how a text stands in a spec: in quotes only where it would be read as something else."""
    return text if PLAIN_TEXT.fullmatch(text) else repr(text)


def literal(text: str) -> Any:
    """Returns the value of a Python literal; what is none is taken as text, such as a path."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return WORDS.get(text, text)


def build(table: Table, spec: str, **given: Any) -> Any:
    """Calls the entry that `spec` names, with its arguments and those of `given` that the entry declares."""
    entry, arguments = bind(table, spec, given)
    for key in parameters_of(entry, spec):
        if key in given:
            arguments[key] = given[key]
    return entry(**arguments)


def bind(table: Table, spec: str, given: Collection[str]) -> tuple[Entry, dict[str, Any]]:
    """Returns the entry that `spec` names and its arguments, checked; those in `given` are not the user's to set."""
    found = parse(spec)
    entry = entry_of(table, found.name, spec)
    parameters = settable(parameters_of(entry, found.name), given)
    takes = describe(found.name, parameters)
    if len(found.positional) > len(parameters):
        raise InputError(f"'{spec}' has too many arguments; {takes}")
    written = dict(zip(parameters, found.positional, strict=False))
    for key, value in found.keywords.items():
        if key not in parameters:
            raise InputError(f"unknown argument '{key}' in '{spec}'; {takes}")
        if key in written:
            raise InputError(f"'{spec}' gives '{key}' twice")
        written[key] = value
    arguments = {}
    for key, parameter in parameters.items():
        if key in written:
            arguments[key] = checked(written[key], key, parameter.annotation, spec)
        elif parameter.default is parameter.empty:
            raise InputError(f"'{spec}' lacks '{key}'; {takes}")
    return entry, arguments


def entry_of(table: Table, name: str, spec: str) -> Entry:
    """Returns what the name stands for, in the table or in a module of the user's own."""
    if name in table:
        return table[name]
    if ":" in name:
        entry = imported(name)
        check_kind(table, entry, spec)
        return entry
    known = f"{', '.join(sorted(table))}, or your own as module:name"
    hint = ""
    if os.path.exists(spec):
        hint = f"; a path stands in the brackets of one, as in {min(table)}({spec})"
    raise InputError(f"unknown name '{name}' in '{spec}'; known: {known}{hint}")


def imported(name: str) -> Entry:
    """Returns the class of `package.module:Class`, looked for where Python looks for modules."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise InputError(f"'{name}': module {module_name} cannot be imported: {error}") from None
    entry = getattr(module, attribute, None)
    if not callable(entry):
        where = getattr(module, "__file__", None) or module_name  # what is built into Python has no file
        raise InputError(f"'{name}': {where} has no '{attribute}' that can be called")
    return entry


def parameters_of(entry: Entry, name: str) -> Parameters:
    """Returns the arguments that the entry takes, those included which it passes on to its base classes."""
    try:
        found = dict(inspect.signature(entry, eval_str=True).parameters)
        for constructor in constructors_reached(entry):
            _, *parameters = inspect.signature(constructor, eval_str=True).parameters.values()
            for parameter in parameters:
                found.setdefault(parameter.name, parameter)
    except (ValueError, TypeError, NameError) as error:
        raise InputError(f"'{name}': which arguments it takes cannot be told: {error}") from None
    return found


def constructors_reached(entry: Entry) -> Iterator[Callable[..., None]]:
    """Yields the constructors that a class's options come to by `**options`, up to those of Keras."""
    for base in entry.__mro__ if isinstance(entry, type) else ():
        package, _, _ = base.__module__.partition(".")
        if package == "keras":
            return
        constructor = vars(base).get("__init__")
        if not inspect.isfunction(constructor):
            continue
        yield constructor
        kinds = [parameter.kind for parameter in inspect.signature(constructor).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return


def settable(parameters: Parameters, given: Collection[str]) -> dict[str, inspect.Parameter]:
    """Returns the parameters that a user may set by name."""
    found = {}
    for key, parameter in parameters.items():
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if by_name and key not in given:
            found[key] = parameter
    return found


def require(kind: Any, made: Any, spec: str) -> None:
    """Raises where a function has made something else than it says."""
    if not isinstance(made, kind):
        raise InputError(f"'{spec}' makes a {type(made).__name__}, and a {kind.__name__} is needed")


def check_kind(table: Table, entry: Entry, spec: str) -> None:
    """Raises where a user's own entry does not say that it makes what the table's entries make; nothing is called."""
    classes = [each for each in table.values() if isinstance(each, type)]
    if len(classes) == len(table):
        check_class(classes, entry, spec)
        return
    (kind,) = {returned(each) for each in table.values()}  # all entries of a table of functions say the same
    made = entry if isinstance(entry, type) else returned(entry)
    if made == kind:
        return
    if isinstance(made, type) and isinstance(kind, type) and issubclass(made, kind):
        return
    wanted = kind.__name__ if isinstance(kind, type) else kind
    raise InputError(
        f"'{spec}' is not called, because it does not say that it makes a {wanted}: write it as a class of that "
        f"kind, or as a function with the annotation -> {wanted}"
    )


def check_class(classes: list[type], entry: Entry, spec: str) -> None:
    """Raises unless the entry is a class with the base that all classes share; where they share none, their methods."""
    shared = shared_base(classes)
    public = shared_names(classes)
    needed = f"a class of kind {shared.__name__}"
    if shared is object:
        needed = f"a class with {', '.join(sorted(public))}"
    if not isinstance(entry, type):
        raise InputError(f"'{spec}' is not called, because it is no class, and {needed} is needed")
    if not issubclass(entry, shared):
        raise InputError(f"'{spec}' makes a {entry.__name__}, and a {shared.__name__} is needed")
    missing = sorted(public - set(dir(entry)))
    if shared is object and missing:
        raise InputError(f"'{spec}' makes a {entry.__name__}, which has no {' and no '.join(missing)}")


def shared_base(classes: list[type]) -> type:
    """Returns the nearest class that all of these are of."""
    for base in classes[0].__mro__:
        if all(issubclass(each, base) for each in classes):
            return base
    return object


def shared_names(classes: list[type]) -> set[str]:
    """Returns the public names that all of these classes have, less what one may leave out."""
    everywhere = set(dir(classes[0]))
    for each in classes:
        everywhere &= set(dir(each))
    return {name for name in everywhere - OPTIONAL if not name.startswith("_")}


def returned(function: Entry) -> Any:
    """Returns what a function's annotation says that it returns; None where it says nothing."""
    try:
        found = inspect.signature(function, eval_str=True).return_annotation
    except (ValueError, TypeError, NameError, SyntaxError, AttributeError):
        return None
    return None if found is inspect.Signature.empty else found


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
        raise InputError(f"'{key}' in '{spec}' has to be of type {annotation.__name__}, not {value!r}")
    return value


def describe(name: str, parameters: Parameters) -> str:
    """Returns a line that says what the entry of this name takes."""
    if not parameters:
        return f"{name} takes none"
    known = []
    for key, parameter in parameters.items():
        has_default = parameter.default is not parameter.empty
        known.append(f"{key}={parameter.default!r}" if has_default else key)
    return f"{name} takes: {', '.join(known)}"
