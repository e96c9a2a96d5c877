"""Folders that are made: by one command at a time, and never half."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bct_keras import artefacts
from bct_keras.artefacts.folders import STARTED
from bct_keras.artefacts.locks import HOLDER
from bct_keras.errors import InputError, UnfinishedError

ROOT = Path(__file__).parents[2]
MADE_FROM = {"data": "d1"}

# Makes the folder; says "filling" once it has it to itself, and goes on when a line comes in.
MAKER = """
import json, sys
from pathlib import Path
from bct_keras import artefacts
folder, mark = Path(sys.argv[1]), sys.argv[2]
made_from, resume = json.loads(sys.argv[3]), sys.argv[4] == "resume"
with artefacts.making(folder, "report", made_from, resume) as partial:
    if partial is None:
        print("is there")
    else:
        (partial / mark).write_text("half")
        print("filling", flush=True)
        sys.stdin.readline()
        (partial / mark).write_text("whole")
        artefacts.write_manifest(partial, "report", made_from)
        print("made")
"""


@pytest.fixture
def maker(tmp_path):
    """Starts a process that makes the folder `out`."""
    started = []

    def start(mark: str, made_from=MADE_FROM, resume: str = "") -> subprocess.Popen:
        arguments = [str(tmp_path / "out"), mark, json.dumps(made_from), resume]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", MAKER, *arguments],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_of_two_commands_waits_and_finds_it_made(tmp_path, maker):
    first = maker("one")
    assert line_of(first) == "filling"
    second = maker("two")
    assert line_of(second).startswith(f"{tmp_path / 'out'}: waiting for process {first.pid} on ")
    assert first.communicate("go on\n")[0] == "made\n"
    assert second.communicate()[0] == "is there\n"
    assert names(tmp_path / "out") == ["manifest.json", "one"]
    assert names(tmp_path) == ["out"]


def test_the_second_of_two_commands_that_makes_something_else_is_refused_and_destroys_nothing(
    tmp_path, maker
):
    first = maker("one")
    assert line_of(first) == "filling"
    second = maker("two", {"data": "d2"})
    assert "waiting for process" in line_of(second)
    first.communicate("go on\n")
    _, error = second.communicate()
    assert "out is there, made from something else (data: 'd1' there, 'd2' now)" in error
    assert (tmp_path / "out/one").read_text() == "whole"
    assert names(tmp_path) == ["out"]


def test_when_the_first_of_two_commands_is_killed_the_second_makes_it(tmp_path, maker):
    first = maker("one")
    assert line_of(first) == "filling"
    second, third = maker("two"), maker("three")
    assert "waiting" in line_of(second)
    assert "waiting" in line_of(third)
    first.send_signal(signal.SIGKILL)
    for process in (second, third):
        assert process.stdin
        process.stdin.write("go on\n")
        process.stdin.flush()
    said = {process: process.communicate()[0] for process in (second, third)}
    assert sorted(said.values()) == ["filling\nmade\n", "is there\n"]
    winner = "two" if "made" in said[second] else "three"
    assert names(tmp_path / "out") == ["manifest.json", winner]  # nothing of the killed one's
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("made_from", "kept"), [(MADE_FROM, True), ({"data": "d2"}, False)])
def test_what_a_killed_command_left_is_taken_up_where_it_is_of_the_same(
    tmp_path, maker, made_from, kept
):
    first = maker("one", resume="resume")
    assert line_of(first) == "filling"
    first.kill()
    first.communicate()
    with artefacts.making(tmp_path / "out", "report", made_from, resume=True) as partial:
        assert partial
        assert (partial / "one").exists() == kept
        artefacts.write_manifest(partial, "report", made_from)
    assert names(tmp_path / "out") == ["manifest.json", *(["one"] if kept else [])]


@pytest.mark.parametrize(
    ("error", "resume", "left"),
    [
        (InputError, True, False),
        (UnfinishedError, True, True),
        (OSError, True, True),
        (KeyboardInterrupt, True, True),
        (UnfinishedError, False, False),
        (OSError, False, False),
    ],
)
def test_what_is_left_of_a_block_that_fails(tmp_path, error, resume, left):
    def fill() -> None:
        with artefacts.making(tmp_path / "out", "report", MADE_FROM, resume) as partial:
            assert partial
            (partial / "file").write_text("half")
            raise error

    with pytest.raises(error):
        fill()
    assert names(tmp_path) == ([".out.partial"] if left else [])
    if left:
        assert names(tmp_path / ".out.partial") == [HOLDER, STARTED, "file"]


def test_what_is_there_needs_no_lock(tmp_path, monkeypatch):
    """As on a disk that can only be read."""
    (tmp_path / "out").mkdir()
    artefacts.write_manifest(tmp_path / "out", "report", MADE_FROM)
    monkeypatch.setattr(os, "mkdir", lambda *_, **__: pytest.fail("something was written"))
    with artefacts.making(tmp_path / "out", "report", MADE_FROM) as partial:
        assert partial is None


def planted_link(place: Path, mine: Path) -> None:
    place.symlink_to(mine)


def planted_link_to_a_folder(place: Path, mine: Path) -> None:
    place.symlink_to(mine.parent)


def planted_file(place: Path, mine: Path) -> None:
    place.write_text("planted")


@pytest.mark.parametrize("plant", [planted_link, planted_link_to_a_folder, planted_file])
def test_what_is_planted_where_a_folder_is_made_is_not_followed(
    tmp_path, plant: Callable[[Path, Path], None]
):
    mine = tmp_path / "mine" / "file"
    mine.parent.mkdir()
    mine.write_text("mine")
    plant(tmp_path / ".out.partial", mine)

    def fill() -> None:
        with artefacts.new_folder(tmp_path / "out") as partial:
            (partial / "file").write_text("other")

    with pytest.raises(
        InputError,
        match=r"\.out\.partial is in the way: a link or a file, .*where .*out is to be made",
    ):
        fill()
    assert mine.read_text() == "mine"
    assert names(tmp_path) == [".out.partial", "mine"]


def test_links_planted_in_the_folder_that_is_made_are_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / "folder").symlink_to(mine)
    with artefacts.new_folder(tmp_path / "out"):
        assert (mine / "file").read_text() == "mine"
    assert names(tmp_path / "out") == []
    partial.mkdir()
    (partial / HOLDER).symlink_to(mine / "file")
    with (
        pytest.raises(InputError, match=r"in the way.*with a link in it"),
        artefacts.new_folder(tmp_path / "out"),
    ):
        pass
    assert (mine / "file").read_text() == "mine"


def test_who_holds_a_lock_is_told_only_in_words_of_ours(tmp_path, maker):
    first = maker("one")
    assert line_of(first) == "filling"
    (tmp_path / ".out.partial" / HOLDER).write_text("process 1 on \x1b[31mevil\nerror: all is lost")
    second = maker("two")
    assert line_of(second) == f"{tmp_path / 'out'}: waiting for another process, which is making it"


def test_a_folder_may_take_the_place_of_another_with_its_permissions(tmp_path):
    for content in ("one", "two"):
        with artefacts.new_folder(tmp_path / "out", replace=True) as partial:
            (partial / content).write_text(content)
            assert (
                names(tmp_path / "out") == ["one"]
                if content == "two"
                else not (tmp_path / "out").exists()
            )
        (tmp_path / "out").chmod(0o700)
    assert names(tmp_path / "out") == ["two"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    with artefacts.new_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("good")
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target == tmp_path / "out" and source == tmp_path / ".out.partial":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)

    def fill() -> None:
        with artefacts.new_folder(tmp_path / "out", replace=True) as partial:
            (partial / "file").write_text("new")

    with pytest.raises(OSError, match="No space"):
        fill()
    assert (tmp_path / "out/file").read_text() == "good"
    assert names(tmp_path) == ["out"]


ALONE = """
import sys
from pathlib import Path
from bct_keras import artefacts
with artefacts.alone(Path(sys.argv[1]), "another run"):
    print("alone", flush=True)
    sys.stdin.readline()
"""


def test_who_holds_a_run_is_named_and_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path):
    def start() -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", ALONE, str(tmp_path / "run")]
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    first = start()
    assert line_of(first) == "alone"
    second = start()
    assert line_of(second).startswith(
        f"{tmp_path / 'run'}: waiting for another run (process {first.pid} on "
    )
    first.communicate("go on\n")  # it has left nothing, so the folder goes
    assert line_of(second) == "alone"
    assert names(tmp_path / "run") == [artefacts.LOCK]
    third = start()
    assert f"process {second.pid} on " in line_of(third)
    second.communicate("go on\n")
    assert third.communicate("go on\n")[0] == "alone\n"
    assert not (tmp_path / "run").exists()


def test_a_new_folder_takes_its_place_when_the_block_has_ended(tmp_path):
    folder = tmp_path / "above" / "new"
    with artefacts.new_folder(folder) as partial:
        (partial / "file").write_text("whole")
        assert not folder.exists()
    assert (folder / "file").read_text() == "whole"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("stop", [ValueError, InputError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_nothing(tmp_path, stop):
    def fill(folder: Path) -> None:
        with artefacts.new_folder(folder) as partial:
            (partial / "file").write_text("half")
            raise stop

    with pytest.raises(stop):
        fill(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_is_cleared_away(tmp_path):
    (tmp_path / ".new.partial").mkdir()
    (tmp_path / ".new.partial" / "old").write_text("half")
    with artefacts.new_folder(tmp_path / "new") as partial:
        (partial / "file").write_text("whole")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "new",
        "new/file",
    ]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "new").mkdir()
    with artefacts.new_folder(tmp_path / "new") as partial:
        (partial / "file").write_text("whole")
    assert (tmp_path / "new" / "file").exists()


def test_a_full_folder_is_never_replaced(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    artefacts.write_manifest(made, "report", MADE_FROM, records=5)

    def fill() -> None:
        with artefacts.new_folder(made) as partial:
            (partial / "file").write_text("other")

    with pytest.raises(OSError, match="not empty"):
        fill()
    assert json.loads((made / "manifest.json").read_text())["records"] == 5
    assert list(made.parent.iterdir()) == [made]


@pytest.mark.parametrize("name", [".", "", "/", ".."])
def test_a_folder_without_a_name_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)

    def fill() -> None:
        with artefacts.new_folder(Path(name)):
            pass

    with pytest.raises(InputError, match="give the folder to make a name of its own"):
        fill()


def test_many_processes_that_make_and_fail_lose_nothing_of_each_other(tmp_path):
    """Lets processes make, fail, or leave a folder to be taken up.

    Whoever has the folder to itself finds in it only what is its own.
    """
    script = """
import random, sys, time
from pathlib import Path
from bct_keras import artefacts
from bct_keras.errors import InputError
folder, own = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
for turn in range(15):
    try:
        with artefacts.new_folder(folder, replace=True) as partial:
            assert sorted(path.name for path in partial.iterdir()) == [".held_by"]
            for number in range(5):
                (partial / f"{number}").write_text(sys.argv[2])
                time.sleep(own.random() / 1000)
            assert {(partial / f"{number}").read_text() for number in range(5)} == {sys.argv[2]}
            if own.random() < 0.3:
                raise InputError("refused")
    except InputError:
        pass
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    all_at_once = [
        subprocess.Popen(
            [*command, str(seed)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for seed in range(4)
    ]
    errors = [process.communicate()[1] for process in all_at_once]
    assert [process.returncode for process in all_at_once] == [0] * 4, errors
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["0", "1", "2", "3", "4"]
    assert len({path.read_text() for path in (tmp_path / "out").iterdir()}) == 1
