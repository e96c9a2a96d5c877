"""The commands of train's page parse, with the flag files that they name."""

import shlex
from pathlib import Path

import pytest
from absl import flags

from bct_keras.adapt import __main__ as adapt
from bct_keras.train import __main__ as train
from bct_keras.train.recipe import Recipe

ROOT = Path(__file__).parents[2]
COMMANDS = [
    shlex.split(line)
    for line in (ROOT / "bct_keras/train/README.md").read_text().splitlines()
    if line.startswith("python -m ")
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_page_parses(words, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    module = {"bct_keras.train": train, "bct_keras.adapt": adapt}[words[2]]
    known = set(flags.FLAGS)
    module.define_flags()
    try:
        assert flags.FLAGS(["it", *words[3:]]) == ["it"]
        if module is train:
            flags.FLAGS.start = ""  # a run that is not there
            flags.FLAGS.frozen_epochs = 0
            Recipe(**train.flags_of(Recipe))
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
