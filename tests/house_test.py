"""The house stands as it was drawn: few flat modules, none too long, and an import that costs
nothing.

Which package may import which is held by import-linter; its contracts stand in pyproject.toml.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bct_keras"
LARGEST_MODULE = 300  # lines
FLAT_MODULES = 12
# Nobody can name the arguments of struct's `pack`, which are as many as its format has fields.
COUNTED_BY_A_FORMAT = {"pack"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def is_command(package: Path) -> bool:
    return (package / "__main__.py").exists()


def test_few_modules_stand_beside_the_packages():
    flat = [path.name for path in PACKAGE.glob("*.py")]
    assert len(flat) <= FLAT_MODULES, flat


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_can_be_read_at_a_sitting(module: Path):
    assert len(module.read_text().splitlines()) <= LARGEST_MODULE


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_call_has_six_arguments_told_apart_by_their_place(module: Path):
    crowded = [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call)
        and len(node.args) >= 6
        and getattr(node.func, "attr", "") not in COUNTED_BY_A_FORMAT
    ]
    assert not crowded


def test_every_command_has_its_flags_and_its_work_in_two_files():
    commands = [
        package for package in PACKAGE.iterdir() if package.is_dir() and is_command(package)
    ]
    assert len(commands) == 11
    for command in commands:
        assert (command / "run.py").exists()


def test_importing_the_package_loads_no_tensorflow_and_sets_nothing():
    program = (
        "import os, sys; before = dict(os.environ); import bct_keras; "
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules), sorted(sys.modules); "
        "assert dict(os.environ) == before; print(bct_keras.__version__)"
    )
    # A process of its own: this one has imported TensorFlow long ago.
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
