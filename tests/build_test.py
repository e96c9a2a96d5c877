"""BUILD is true to the imports: a target for each package and test, with what it imports and
nothing else.
"""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
# Folders whose scripts find each other beside them; the last is where bct_keras lies.
SEARCHED = (
    "tests/encoders",
    "tests/heads",
    "tests/serving",
    "tests",
    "export/edge",
    "export/serving",
    "",
)
Target = dict[str, Any]


@cache
def targets() -> dict[str, Target]:
    """Every target of BUILD by its name. Starlark without functions of its own is Python too."""
    found: dict[str, Target] = {}

    def rule(**attributes: Any) -> None:
        assert attributes["name"] not in found
        found[attributes["name"]] = attributes

    def glob(patterns: list[str], allow_empty: bool = True) -> list[str]:
        return sorted(
            {
                path.relative_to(ROOT).as_posix()
                for pattern in patterns
                for path in ROOT.glob(pattern)
            }
        )

    given = dict.fromkeys(("py_binary", "py_library", "py_test"), rule)
    tree = ast.parse((ROOT / "BUILD").read_text())
    exec(
        compile(tree, "BUILD", "exec"),
        given | {"glob": glob, "load": lambda *_: None, "package": lambda **_: None},
    )
    return found


@cache
def owners() -> dict[str, str]:
    """The target that each file of a library belongs to."""
    return {
        file: name
        for name, target in targets().items()
        for file in target["srcs"]
        if "main" not in target and file.endswith(".py")
    }


@cache
def imported(path: Path) -> set[str]:
    """The modules that a file names: in imports, in importorskip and the like, and as text, for
    `python -m`.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("importorskip", "import_module")
        ):
            found |= {str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant)}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"bct_keras(\.\w+)+", str(node.value)):
            found.add(str(node.value))
    return found


# Reading what is installed takes half a second.
distributions = cache(packages_distributions)


@cache
def label(module: str) -> str | None:
    """The target that has a module, or the longest part of its name that is one; None for Python's
    own.
    """
    parts = module.split(".")
    for folder in SEARCHED:
        for length in range(len(parts), 0, -1):
            path = (Path(folder) / "/".join(parts[:length])).as_posix()
            for file in (f"{path}.py", f"{path}/__init__.py"):
                if file in owners():
                    return f":{owners()[file]}"
    if parts[0] in sys.stdlib_module_names:
        return None
    names = distributions().get(parts[0], [parts[0]])
    name = "protobuf" if module.startswith("google.protobuf") else names[0]
    return "@pypi//" + re.sub(r"[-.]+", "_", name).lower()


def needed(target: Target) -> set[str]:
    """What its files import, and what pytest reads beside a test: conftest.py."""
    files = [file for file in target["srcs"] if file.endswith(".py")]
    found = {label(module) for file in files for module in imported(ROOT / file)} - {None}
    if "main" in target:
        above = (
            [parent / "conftest.py" for parent in Path(target["args"][0]).parents]
            if "args" in target
            else []
        )
        found |= {f":{owners()[file.as_posix()]}" for file in above if file.as_posix() in owners()}
    if any(file.startswith("bct_keras/") for file in files):
        found.add(":bct_keras")  # its __init__.py, which Python runs before any module below it
    return {str(each) for each in found} - {f":{target['name']}"}


@pytest.mark.parametrize("name", targets())
def test_a_target_has_what_it_imports_and_nothing_else(name):
    target = targets()[name]
    declared = target.get("deps", [])
    if target["srcs"] == [target.get("main")]:  # a command: what it imports is its library's
        assert declared == [f":{Path(target['main']).parent.name}"]
        return
    if name == "bct_keras":  # it imports the others when they are used, and they stand above it
        assert declared == []
        return
    assert len(declared) == len(set(declared))
    missing, superfluous = needed(target) - set(declared), set(declared) - needed(target)
    assert (sorted(missing), sorted(superfluous)) == ([], [])


def test_every_file_has_one_target_and_so_has_every_test():
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bct_keras").rglob("*.py")}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*_test.py")}
    of_libraries, of_tests = [], []
    for target in targets().values():
        if "args" in target:
            of_tests += [file for file in target["srcs"] if file.endswith("_test.py")]
        elif "main" not in target:
            of_libraries += [file for file in target["srcs"] if file.startswith("bct_keras/")]
    assert sorted(of_libraries) == sorted(files)
    assert sorted(of_tests) == sorted(tests)


def test_the_tests_of_a_package_are_one_target_of_its_name():
    packages = {path.parent.name for path in (ROOT / "bct_keras").glob("*/__init__.py")}
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    for package in packages & tested:
        assert targets()[f"tests/{package}"]["args"] == [f"tests/{package}"]


def test_every_package_is_a_target_of_its_own():
    packages = {path.parent for path in (ROOT / "bct_keras").glob("*/__init__.py")}
    assert {package.name for package in packages} <= targets().keys()
    for package in packages:
        files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
        assert set(targets()[package.name]["srcs"]) == files


def test_commands_can_be_run():
    commands = {path.parent.name for path in (ROOT / "bct_keras").glob("*/__main__.py")}
    assert {f"bct_keras.{command}" for command in commands} <= targets().keys()


def test_no_target_leads_back_to_itself():
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"{' -> '.join(way)} -> {name}"
        if name not in done:
            for dependency in targets()[name].get("deps", []):
                if dependency.startswith(":"):
                    follow(dependency[1:], (*way, name))
            done.add(name)

    for name in targets():
        follow(name, ())
