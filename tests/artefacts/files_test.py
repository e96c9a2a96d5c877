"""Files that are written beside their place: whole or not at all, and nobody else's touched."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bct_keras import artefacts

ROOT = Path(__file__).parents[2]


def test_write_atomically_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "file"
    for text in ("one", "two"):
        artefacts.write_atomically(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.npy"
    path.write_text("good")

    def half(partial: Path) -> None:
        assert partial.name == "file.npy"  # some writers look at the ending
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        artefacts.write_beside(path, half)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_the_permissions_of_the_file_before_are_kept(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("one")
    path.chmod(mode)
    seen = []

    def write(partial: Path) -> None:
        partial.write_text("two")
        seen.append(partial.parent.stat().st_mode & 0o777)

    artefacts.write_beside(path, write)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == mode
    assert seen == [0o700]  # nobody else reads it before


def test_a_new_file_has_the_permissions_that_the_user_gives_to_files(tmp_path):
    (tmp_path / "plain").write_text("")
    artefacts.write_atomically(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    real, link = tmp_path / "disk" / "real.json", tmp_path / "link.json"
    real.parent.mkdir()
    real.write_text("one")
    link.symlink_to(real)
    artefacts.write_atomically(link, "two")
    assert link.is_symlink()
    assert real.read_text() == "two"
    assert sorted(tmp_path.rglob("*")) == [real.parent, real, link]


KILLED = """
import os, signal, sys
from pathlib import Path
from bct_keras import artefacts
with artefacts.replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.readline()
"""


def writer(path: Path, how: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), how],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_killed_writers_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    path = tmp_path / "file"
    killed = writer(path, "killed")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    (dead,) = tmp_path.iterdir()
    living = writer(path, "living")
    assert living.stdout
    assert living.stdout.readline() == "writing\n"
    assert not dead.exists()
    (partial,) = tmp_path.iterdir()
    artefacts.write_atomically(path, "mine")
    assert partial.exists()
    assert path.read_text() == "mine"
    assert living.communicate("go on\n")[0] == ""
    assert path.read_text() == "half"  # the last one to end: whole, as it wrote it
    assert list(tmp_path.iterdir()) == [path]


def test_only_folders_of_the_very_kind_are_cleared_away(tmp_path):
    kept = [
        ".file.partial",
        ".file.partial-short",
        ".file.partial-UPPERCAS",
        ".other.partial-abcdefgh",
    ]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".file.partial-aaaaaaaa").write_text("a file of somebody's")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / ".file.partial-bbbbbbbb").symlink_to(tmp_path / "mine")
    (tmp_path / ".file.partial-cccccccc").mkdir()
    artefacts.write_atomically(tmp_path / "file", "text")
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {*kept, ".file.partial-aaaaaaaa", ".file.partial-bbbbbbbb", "mine", "file"}
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_many_writers_of_one_file_at_once(tmp_path):
    """Lets each replace it whole: no reader ever sees a part of one, or a mixture."""
    path, texts = tmp_path / "file", [letter * 20_000 for letter in "abcd"]
    artefacts.write_atomically(path, texts[0])
    seen: set[str] = set()

    def write(text: str) -> None:
        for _ in range(20):
            artefacts.write_atomically(path, text)
            seen.add(path.read_text())

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= set(texts)
    assert list(tmp_path.iterdir()) == [path]
