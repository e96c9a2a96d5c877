"""Flags that carry their arguments: `arcface(margin=0.5, scale=64)` builds the table's "arcface".

A name may also be that of a class in a module of the user's own: `my_package.my_method:MyMethod(x=1)`. To name a module
is to run it, as Python does at every import; of what it holds only that is called which says that it is of the kind
needed: a class by what it derives from, a function by what its annotation says that it returns.
"""

import ast
import importlib
import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bct_keras.errors import InputError

LONGEST_SPEC = 10_000  # Python's own reader of literals goes deeper with each bracket
LARGEST_NUMBER = 1 << 62
OPTIONAL = {"notes"}  # what all classes of a table have, and one of the user's own need not have
SPEC = re.compile(r"(?P<name>[A-Za-z_][\w.:]*)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL)
KEYWORD = re.compile(r"(?P<key>[A-Za-z_]\w*)\s*=(?P<value>.*)", re.DOTALL)


def parse(spec: str) -> tuple[str, list[str], dict[str, str]]:
    """Splits `name(value, key=value)`; the values as they are written."""
    match = SPEC.fullmatch(spec.strip()) if len(spec) <= LONGEST_SPEC else None
    if match is None:
        raise InputError(f"'{spec[:LONGEST_SPEC]}' is not of the form name or name(key=value, ...)")
    positional: list[str] = []
    keywords: dict[str, str] = {}
    for text in split_arguments(match["arguments"] or "", spec):
        keyword = KEYWORD.fullmatch(text)
        if keyword is None and keywords:
            raise InputError(f"'{spec}': '{text}' has to come before the arguments with a name")
        if keyword is None:
            positional.append(text)
        elif keyword["key"] in keywords:
            raise InputError(f"'{spec}' gives '{keyword['key']}' twice")
        else:
            keywords[keyword["key"]] = keyword["value"].strip()
    return match["name"], positional, keywords


def split_arguments(text: str, spec: str) -> list[str]:
    """Cuts at the commas that stand outside brackets and quotes."""
    pieces, depth, quote, escaped = [""], 0, "", False
    for character in text:
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if character == "," and not depth and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
        if depth < 0:
            break
    if depth or quote:
        raise InputError(f"'{spec}' has a bracket or a quote without its partner")
    pieces = [piece.strip() for piece in pieces]
    if pieces[-1] == "":
        pieces.pop()
    if "" in pieces:
        raise InputError(f"'{spec}' has an empty argument")
    return pieces


def quoted(text: str) -> str:
    """How a text stands in a spec: in quotes only where it would be read as something else."""
    return text if re.fullmatch(r"[\w./-]+", text) else repr(text)


def literal(text: str) -> Any:
    """What is no Python literal is taken as text, such as a path."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {"true": True, "false": False}.get(text, text)


def build(table: Mapping[str, Callable[..., Any]], spec: str, **given: Any) -> Any:
    """Calls the entry that `spec` names, with its arguments and those of `given` that the entry declares."""
    entry, arguments = bind(table, spec, given)
    declared = inspect.signature(entry).parameters
    return entry(**arguments, **{key: value for key, value in given.items() if key in declared})


def bind(
    table: Mapping[str, Callable[..., Any]], spec: str, given: Collection[str]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The entry that `spec` names and its arguments, checked; those in `given` are not the user's to set."""
    name, positional, keywords = parse(spec)
    entry = table.get(name) or (imported(name) if ":" in name else None)
    if entry is None:
        known = f"{', '.join(sorted(table))}, or your own as module:name"
        hint = f"; a path stands in the brackets of one, as in {min(table)}({spec})" if os.path.exists(spec) else ""
        raise InputError(f"unknown name '{name}' in '{spec}'; known: {known}{hint}")
    if name not in table:
        check_kind(table, entry, spec)
    parameters = parameters_of(entry, name)
    settable = {
        key: parameter
        for key, parameter in parameters.items()
        if key not in given and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    if len(positional) > len(settable):
        raise InputError(f"'{spec}' has too many arguments; {describe(name, settable)}")
    arguments = dict(zip(settable, positional, strict=False))
    for key, value in keywords.items():
        if key not in settable:
            raise InputError(f"unknown argument '{key}' in '{spec}'; {describe(name, settable)}")
        if key in arguments:
            raise InputError(f"'{spec}' gives '{key}' twice")
        arguments[key] = value
    for key, parameter in settable.items():
        if key in arguments:
            arguments[key] = checked(arguments[key], key, parameter.annotation, spec)
        elif parameter.default is parameter.empty:
            raise InputError(f"'{spec}' lacks '{key}'; {describe(name, settable)}")
    return entry, arguments


def imported(name: str) -> Callable[..., Any]:
    """`package.module:Class`, looked for where Python looks for modules."""
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


def parameters_of(entry: Callable[..., Any], name: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(entry, eval_str=True).parameters
    except (ValueError, TypeError, NameError) as error:
        raise InputError(f"'{name}': which arguments it takes cannot be told: {error}") from None


def require(kind: Any, made: Any, spec: str) -> None:
    """Raises where a function has made something else than it says."""
    if not isinstance(made, kind):
        raise InputError(f"'{spec}' makes a {type(made).__name__}, and a {kind.__name__} is needed")


def check_kind(table: Mapping[str, Callable[..., Any]], entry: Callable[..., Any], spec: str) -> None:
    """Raises where a user's own entry does not say that it makes what the table's entries make; nothing is called."""
    classes = [each for each in table.values() if isinstance(each, type)]
    if len(classes) == len(table):
        check_class(classes, entry, spec)
        return
    kinds = {returned(each) for each in table.values()}
    (kind,) = kinds  # all entries of a table of functions say the same
    made = entry if isinstance(entry, type) else returned(entry)
    if made != kind and not (isinstance(made, type) and isinstance(kind, type) and issubclass(made, kind)):
        wanted = kind.__name__ if isinstance(kind, type) else kind
        raise InputError(
            f"'{spec}' is not called, because it does not say that it makes a {wanted}: write it as a class of that "
            f"kind, or as a function with the annotation -> {wanted}"
        )


def check_class(classes: list[type], entry: Callable[..., Any], spec: str) -> None:
    """Raises unless the entry is a class with the base that all classes share; where they share none, their methods."""
    shared = next(base for base in classes[0].__mro__ if all(issubclass(each, base) for each in classes))
    everywhere = set.intersection(*(set(dir(each)) for each in classes))
    public = {name for name in everywhere - OPTIONAL if not name.startswith("_")}
    needed = (
        f"a class of kind {shared.__name__}" if shared is not object else f"a class with {', '.join(sorted(public))}"
    )
    if not isinstance(entry, type):
        raise InputError(f"'{spec}' is not called, because it is no class, and {needed} is needed")
    if not issubclass(entry, shared):
        raise InputError(f"'{spec}' makes a {entry.__name__}, and a {shared.__name__} is needed")
    missing = sorted(public - set(dir(entry)))
    if shared is object and missing:
        raise InputError(f"'{spec}' makes a {entry.__name__}, which has no {' and no '.join(missing)}")


def returned(function: Callable[..., Any]) -> Any:
    """Returns what a function's annotation says that it returns; None where it says nothing."""
    try:
        found = inspect.signature(function, eval_str=True).return_annotation
    except (ValueError, TypeError, NameError, SyntaxError, AttributeError):
        return None
    return None if found is inspect.Signature.empty else found


def checked(text: str, key: str, annotation: Any, spec: str) -> Any:
    """A folder may be named `1.50`, and `0.3x` reads as text: only the declared type tells what was meant."""
    value = literal(text)
    if annotation is str:
        return value if isinstance(value, str) else text
    if isinstance(value, int | float) and not abs(value) < LARGEST_NUMBER:
        raise InputError(f"'{key}' in '{spec}' is larger than any number that is of use here")
    if annotation is float and type(value) is int:
        return float(value)
    if annotation in (int, float, bool, tuple) and type(value) is not annotation:
        raise InputError(f"'{key}' in '{spec}' has to be of type {annotation.__name__}, not {value!r}")
    return value


def describe(name: str, parameters: Mapping[str, inspect.Parameter]) -> str:
    if not parameters:
        return f"{name} takes none"
    known = (
        key if parameter.default is parameter.empty else f"{key}={parameter.default!r}"
        for key, parameter in parameters.items()
    )
    return f"{name} takes: {', '.join(known)}"
