"""Checks a command line: it is one of ours or one that is there, with flags and names it knows."""

import copy
import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import documents
import pytest
from absl import flags

from bct_keras import specs
from bct_keras.backbones import BACKBONES
from bct_keras.engines import ENGINES
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.gallery import __main__ as gallery
from bct_keras.heads import HEADS
from bct_keras.init import __main__ as init
from bct_keras.methods import METHODS
from bct_keras.optimizers import OPTIMIZERS
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.splits import SPLITS
from bct_keras.schedules import SCHEDULES

# What takes a name with arguments, and which of them are not the user's.
NAMED = {
    "backbone": (BACKBONES, ("image_size", "dims")),
    "engine": (ENGINES, ()),
    "head": (HEADS, ("classes",)),
    "method": (METHODS, ("seed",)),
    "optimizer": (OPTIMIZERS, ("learning_rate",)),
    "protocol": (PROTOCOLS, ("cache", "on_bad")),
    "schedule": (SCHEDULES, ("learning_rate", "steps", "steps_per_epoch")),
    "source": (SOURCES, ()),
    "split": (SPLITS, ()),
}
# Several of a kind, in the words of the command itself.
SEVERAL = {"bct_keras.benchmark": {"method"}}
OF_OTHERS = set(documents.PROGRAMS) - {*documents.PYTHON, "bct", "cd", "pip", "pytest"}


def check(command: str, where: str) -> None:
    """Fails unless each program of a command line is there and knows what it is given."""
    for words in documents.programs(command):
        program, *arguments = words
        if program in documents.PYTHON:
            check_python(arguments, where)
        elif program == "bct":
            check_command(f"bct_keras.{arguments[0]}", arguments[1:], where)
        elif program == "pip":
            check_pip(arguments, where)
        elif program == "cd":
            assert Path(arguments[0]).is_dir(), where
        elif program == "pytest":
            places = [word for word in arguments if word.startswith("tests")]
            assert all(Path(place).exists() for place in places), where
        else:
            assert program in OF_OTHERS, f"{where}: no such program"


def check_python(arguments: list[str], where: str) -> None:
    if arguments[0] == "-c":
        compile(arguments[1], where, "exec")
    elif arguments[0] != "-m":
        script = Path(arguments[0])
        assert script.exists(), f"{where}: no such script"
        text = "".join(beside.read_text() for beside in script.parent.glob("*.py"))
        for word in arguments[1:]:
            if word == "--":  # what follows is for the trainings that the script starts
                break
            if word.startswith("--"):
                assert f'"{word.partition("=")[0]}"' in text, f"{where}: {word}"
    elif arguments[1].startswith("bct_keras"):
        check_command(arguments[1], arguments[2:], where)
    else:
        assert importlib.util.find_spec(arguments[1]), where


def check_pip(arguments: list[str], where: str) -> None:
    known = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in arguments:
        extras = re.fullmatch(r"(?:\.|bct_keras)\[(.*)\]", word)
        if extras:
            assert set(extras[1].split(",")) <= set(known), where


def check_command(module: str, arguments: list[str], where: str) -> None:
    """Parses the flags of one of our commands as the command does, and looks at what they name."""
    if module.endswith(".COMMAND"):  # any of them
        return
    action = arguments.pop(0) if module == "bct_keras.gallery" and arguments else ""
    if not arguments or arguments == ["--help"]:
        assert importlib.util.find_spec(f"{module}.__main__"), where
        assert not action or action in gallery.ACTIONS, where
        return
    try:
        own = parsed(module, action, arguments)
    except (flags.Error, OSError) as error:
        pytest.fail(f"{where}: {error}")
    for flag, (table, given) in NAMED.items():
        if flag not in own or flag in SEVERAL.get(module, ()):
            continue
        values = own[flag].value
        for value in values if isinstance(values, list) else [values]:
            if value and value != "none":
                specs.bind(table, value, given)


def parsed(module: str, action: str, arguments: list[str]) -> flags.FlagValues:
    """Returns the flags of a command with these values; those of this process stay as they are."""
    known = set(flags.FLAGS)
    try:
        if action:
            flags.DEFINE_string("gallery", None, "")
            gallery.ACTIONS[action].define_flags()
        else:
            importlib.import_module(f"{module}.__main__").define_flags()
        own = copy.deepcopy(flags.FLAGS)
        if module == "bct_keras.init":
            arguments = init.with_folder_as_flag([module, *arguments])[1:]
        left = own([module, *arguments])
        assert left == [module], left
        return own
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
