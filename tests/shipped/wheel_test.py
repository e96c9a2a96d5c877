"""The wheel has all that a user needs, and it works outside a checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from bct_keras import shipped

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "bct_keras", "configs", "export")
# What is written into the folder that pip builds in is no part of the sources.
LEFT_OUT = ("node_modules", "__pycache__", "*.egg-info")
SDIST = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def test_a_checkout_has_the_folders_beside_the_package():
    for name in shipped.FOLDERS:
        assert shipped.place(name) == ROOT / name


def test_building_and_finding_speak_of_the_same_files():
    """setuptools is no part of what a user needs, and its file is read as text here."""
    text = (ROOT / "bct_keras/shipped/building.py").read_text()
    assert f"FOLDERS = {shipped.FOLDERS!r}".replace("'", '"') in text
    for name in shipped.LEFT_OUT:
        assert f'"{name}"' in text


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy of what is built from: pip writes into that folder."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory) -> Path:
    """Built as a user does: pip fetches setuptools for it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "-w", folder, sources)
    (built,) = folder.iterdir()
    return built


def test_setuptools_builds_in_a_folder_that_is_not_named_as_the_file_build():
    """On a disk where names have no case they would be one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folder = settings["tool"]["distutils"]["build"]["build_base"]
    assert folder.lower() != "build"
    assert f"/{folder}/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.long
def test_no_other_folder_is_left_in_the_checkout(wheel, sources):
    assert not (sources / "build").exists()


def pip(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *map(str, arguments)],
        check=True,
        timeout=300,
    )


def in_a_wheel(sources: Path) -> set[str]:
    names = set()
    for folder in ("bct_keras", *shipped.FOLDERS):
        for path in (sources / folder).rglob("*"):
            name = path.relative_to(sources).as_posix()
            if path.is_file() and "__pycache__" not in path.parts:
                names.add(name if folder == "bct_keras" else f"bct_keras/shipped/{name}")
    return names


@pytest.mark.long
def test_a_wheel_has_every_file_and_a_licence(sources, wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    of_metadata = {name for name in names if ".dist-info/" in name}
    assert names - of_metadata == in_a_wheel(sources)
    assert any(name.endswith("licenses/bct_keras/LICENSE") for name in of_metadata)
    assert {"bct_keras/py.typed", "bct_keras/CHANGELOG.md"} <= names


@pytest.mark.long
def test_an_sdist_makes_the_same_wheel(sources, wheel, tmp_path):
    pip("install", "--no-deps", "--target", tmp_path / "setuptools", "setuptools>=77,<82")
    subprocess.run(
        [sys.executable, "-c", SDIST, tmp_path],
        cwd=sources,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "setuptools")},
        check=True,
        capture_output=True,
    )
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    pip("wheel", "--no-deps", "-w", tmp_path / "again", unpacked)
    (again,) = (tmp_path / "again").iterdir()
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


@pytest.mark.long
def test_an_installed_wheel_finds_its_flag_files_and_copies_them(wheel, tmp_path):
    """Its own modules are used: of this environment only what they import."""
    pip("install", "--no-deps", "--target", tmp_path / "site", wheel)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    said = []
    for words in (["--version"], ["train", "--flagfile=mixbct.flags", "--help"], ["init", "mine"]):
        program = [sys.executable, str(tmp_path / "site/bin/bct"), *words]
        done = subprocess.run(
            program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        said.append(done.stdout)
    assert said[0].startswith("bct_keras ")
    assert "What matters most:" in said[1]
    assert said[2].startswith("mine: ")
    assert (tmp_path / "mine/configs/mixbct.flags").is_file()
    wrong = [*program[:2], "embed", "--flagfile=mixbct.flags"]
    done = subprocess.run(wrong, cwd=tmp_path, env=environment, capture_output=True, text=True)
    # The file is found, and has flags of another command.
    flag_file = tmp_path / "site/bct_keras/shipped/configs/base.flags"
    assert done.stderr.startswith(f"error: {flag_file}, line ")
    assert ": there is no flag --source" in done.stderr
