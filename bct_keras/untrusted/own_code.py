"""Finds classes and functions in a user's own module: `my_package.my_method:MyMethod`.

To name a module is to run it, as Python does at every import. Of what it holds only that is called
which says that it is of the kind needed: a class by what it derives from, a function by what its
annotation says that it returns.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from bct_keras.errors import InputError

OPTIONAL = {"notes"}  # what all classes of a table have, and one of the user's own need not have

Entry = Callable[..., Any]
Table = Mapping[str, Entry]


def imported(name: str) -> Entry:
    """Returns the class of `package.module:Class`, looked for where Python looks for modules."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise InputError(f"'{name}': module {module_name} cannot be imported: {error}") from None
    entry = getattr(module, attribute, None)
    if not callable(entry):
        # What is built into Python has no file.
        where = getattr(module, "__file__", None) or module_name
        raise InputError(f"'{name}': {where} has no '{attribute}' that can be called")
    return entry


def check_kind(table: Table, entry: Entry, spec: str) -> None:
    """Raises where an entry does not say that it makes what the table's entries make.

    Nothing is called.
    """
    classes = [each for each in table.values() if isinstance(each, type)]
    if len(classes) == len(table):
        check_class(classes, entry, spec)
        return
    # All functions of a table say the same, and the classes beside them are of that kind.
    (kind,) = {returned(each) for each in table.values() if not isinstance(each, type)}
    made = entry if isinstance(entry, type) else returned(entry)
    if made == kind:
        return
    if isinstance(made, type) and isinstance(kind, type) and issubclass(made, kind):
        return
    wanted = kind.__name__ if isinstance(kind, type) else kind
    raise InputError(
        f"'{spec}' is not called, because it does not say that it makes a {wanted}: write it as a "
        f"class of that kind, or as a function with the annotation -> {wanted}"
    )


def check_class(classes: list[type], entry: Entry, spec: str) -> None:
    """Raises unless the entry is a class with the base that all of these classes share.

    Where they share none, it has to have their methods.
    """
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
        lacks = " and no ".join(missing)
        raise InputError(f"'{spec}' makes a {entry.__name__}, which has no {lacks}")


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
