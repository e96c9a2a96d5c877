"""`--help` and what is said of a wrong flag, of every command: from one light process, which forks
for each.
"""

import doctest
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bct_keras import __main__ as bct
from bct_keras import __version__
from bct_keras.benchmark import __main__ as benchmark
from bct_keras.command import help as helping
from bct_keras.gallery import __main__ as gallery
from bct_keras.gallery.usage import EXAMPLES, SUMMARIES

ROOT = Path(__file__).parents[2]
ACTIONS = [f"gallery {action}" for action in gallery.ACTIONS]
WITH_FLAGS = [*(name for name in bct.COMMANDS if name != "gallery"), *ACTIONS]
# Of a flag whose name is right but for a letter, and of a command and an action.
WRONG = ["trian", "gallery serch", *(f"{command} --flagfil=x" for command in WITH_FLAGS)]
# Each line of words is run by a fork, as `bct` would; standard output has a line of JSON for each.
FORKS = """
import contextlib, io, json, os, runpy, sys
from absl import flags
import bct_keras.command
for words in sys.stdin.read().splitlines():
    if os.fork():
        os.wait()
        continue
    out, errors, status = io.StringIO(), io.StringIO(), 0
    sys.argv = ["bct", *words.split()]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            runpy.run_module("bct_keras", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code or 0
    heavy = sorted({"keras", "tensorflow", "numpy"} & set(sys.modules))
    defined = []
    for module, members in flags.FLAGS.flags_by_module_dict().items():
        if not module.startswith("absl"):
            defined += [flag.name for flag in members]
    answer = [words, status, out.getvalue(), errors.getvalue(), heavy, defined]
    print(json.dumps(answer), flush=True)
    os._exit(0)
"""


class Answer:
    """What a command has answered, and what it has imported for that."""

    def __init__(self, status: int, out: str, errors: str, heavy: list[str], defined: list[str]):
        self.status, self.out, self.errors = status, out, errors
        self.heavy, self.defined = heavy, defined


@cache
def answers() -> dict[str, Answer]:
    words = [
        "",
        "--version",
        *WRONG,
        "gallery --help",
        *(f"{words} --help" for words in WITH_FLAGS),
    ]
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        input="\n".join(words),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = {}
    for line in done.stdout.splitlines():
        asked, *answer = json.loads(line)
        found[asked] = Answer(*answer)
    assert list(found) == words, done.stderr
    return found


@pytest.mark.parametrize("command", WITH_FLAGS)
def test_help_imports_nothing_heavy_and_has_every_flag_in_80_columns(command):
    answer = answers()[f"{command} --help"]
    assert (answer.status, answer.errors, answer.heavy) == (0, "", [])
    too_long = [line for line in answer.out.splitlines() if len(line) > 80]
    assert not too_long
    assert f"bct {command} " in answer.out  # an example
    shown = re.findall(r"^  --(?:\[no\])?(\w+)(?: |$)", answer.out, re.MULTILINE)
    hidden = {*benchmark.OWN, *benchmark.REFUSED} if command == "benchmark" else set()
    assert len(shown) == len(set(shown))
    assert set(answer.defined) - hidden <= set(shown)
    assert {"flagfile", "quiet"} <= set(shown)
    assert shown[-1] == "help"


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_answered_in_two_lines_that_name_the_nearest(words):
    answer = answers()[words]
    assert (answer.status, answer.out, answer.heavy) == (1, "", [])
    first, second = answer.errors.splitlines()
    if words.endswith("--flagfil=x"):
        assert first == "error: there is no flag --flagfil"
        assert second == "did you mean --flagfile? --help tells which flags there are"
    else:
        meant = {"trian": "train", "gallery serch": "search"}[words]
        assert first.endswith(f"'{words.split()[-1]}'")
        assert second == f"did you mean {meant}? --help tells what they do"


def test_bct_lists_the_commands_that_there_are_with_a_line_each():
    out = answers()[""].out
    for name, text in bct.COMMANDS.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(text)}$", out, re.MULTILINE)
    folders = [path.parent for path in (ROOT / "bct_keras").rglob("*/__main__.py")]
    names = [".".join(folder.relative_to(ROOT / "bct_keras").parts) for folder in folders]
    assert sorted(bct.COMMANDS) == sorted(names)
    assert answers()["--version"].out == f"bct_keras {__version__}\n"


def test_every_action_of_the_gallery_has_a_summary_and_an_example():
    assert answers()["gallery --help"].heavy == []
    assert sorted(gallery.ACTIONS) == sorted(SUMMARIES) == sorted(EXAMPLES)


@pytest.mark.parametrize(
    ("said", "plainly"),
    [
        ("flag --dims=x: invalid literal for int() with base 10: 'x'", "a whole number is needed"),
        ("flag --rate=x: could not convert string to float: 'x'", "a number is needed"),
        (
            "flag --mirror=2: ('Non-boolean argument to boolean flag', '2')",
            "it is given as --name or --noname",
        ),
    ],
)
def test_a_wrong_value_is_told_plainly(said, plainly):
    first, _ = helping.wrong_value(helping.flags.Error(said))
    assert first == f"{said.split(': ')[0].removeprefix('flag ')}: {plainly}"


def test_the_nearest_of_the_choices_is_named():
    said = "flag --on_bad=fial: value should be one of <fail|skip>"
    assert helping.wrong_value(helping.flags.Error(said)) == (
        "--on_bad=fial: it is one of fail, skip",
        "did you mean fail? --help tells what each flag takes",
    )


def test_the_examples_run():
    assert doctest.testmod(helping).failed == 0
