"""Damaged files of every kind, by tests/fuzz.py, which says what it does.

Whoever changes a reader runs that with more files: `python tests/fuzz.py --files=10000`.
"""

import json
from pathlib import Path

import forked
import pytest

pytestmark = pytest.mark.seconds(13)

SCRIPT = Path(__file__).with_name("fuzz.py")


def faults(*arguments: str) -> list[str]:
    ended = forked.run(SCRIPT, *arguments, timeout=3600)
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert told, ended.stderr
    assert all(found["files"] and found["refused"] for found in told)
    found = [f"{each['kind']}: {each['examples']}" for each in told if each["examples"]]
    assert bool(found) == bool(ended.returncode)
    return found


@pytest.mark.long
def test_five_thousand_damaged_files():
    assert faults("--files=5000", "--seed=2") == []
