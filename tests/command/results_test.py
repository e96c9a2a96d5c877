"""--quiet and --json: where the result goes, and where all else that a process prints."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bct_keras.command import results
from bct_keras.gallery.__main__ import ACTIONS

ROOT = Path(__file__).parents[2]
# What libraries and processes that are started print, past Python, is in it.
COMMAND = """
import os, sys
from absl import flags
from bct_keras import command
from bct_keras.progress import Outcome, track
def main():
    command.say("working")
    os.system("echo from another process")
    list(track([1], 'tracking'))
    if flags.FLAGS.fails:
        raise command.InputError("it failed")
    command.finish(Outcome("done: 3", {"count": 3, "rate": float("inf")}, ["bct next"]))
flags.DEFINE_bool("fails", False, "")
command.run(main, "", {}, as_json=True)
"""
WORKING = "working\nfrom another process\n"
NEXT = "next: bct next\n"
RESULT = {"count": 3, "rate": None}


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "out", "errors"),
    [
        ([], f"{WORKING}done: 3\n{NEXT}", ""),
        (["--quiet"], "done: 3\n", ""),
        (["--json"], RESULT, WORKING + NEXT),
        (["--json", "--quiet"], RESULT, ""),
    ],
)
def test_where_the_result_and_all_else_go(arguments, out, errors):
    done = run(*arguments)
    assert done.returncode == 0
    assert (json.loads(done.stdout) if "--json" in arguments else done.stdout) == out
    assert done.stderr == errors


@pytest.mark.parametrize("arguments", [[], ["--quiet"], ["--json"]])
def test_an_error_is_seen_whatever_was_asked_for(arguments):
    done = run("--fails", *arguments)
    assert done.returncode == 1
    assert done.stderr.endswith("error: it failed\n")


def test_the_actions_of_the_gallery_that_have_a_result():
    assert [name for name, action in ACTIONS.items() if action.as_json] == ["search", "info"]


def test_the_examples_run():
    assert doctest.testmod(results).failed == 0
