"""How a command ends. What it says of bad input is in commands_test.py."""

import doctest
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from bct_keras import command, errors
from bct_keras.errors import InputError, option

ROOT = Path(__file__).parents[2]


def ends(main, *arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        command.guarded(main, ["command", *arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def failing_with(error: BaseException):
    def main() -> None:
        raise error

    return main


def test_a_command_that_works_just_ends(capsys):
    command.guarded(lambda: print("done"), ["command"])
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("photos: no such folder"), "photos: no such folder"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "photos"),
            "photos: No such file or directory",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "photos/a.jpg"),
            "photos/a.jpg: Permission denied",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_user_can_mend_is_one_line(capsys, error, said):
    assert ends(failing_with(error)) == 1
    assert capsys.readouterr() == ("", f"error: {said}\n")


@pytest.mark.parametrize(
    "error", [OSError("no number of the machine's"), ValueError("x"), KeyError("y")]
)
def test_a_fault_of_the_program_keeps_its_traceback(error):
    with pytest.raises(type(error)) as raised:
        command.guarded(failing_with(error), ["command"])
    assert raised.value is error


def test_an_argument_that_is_no_flag_is_told_before_any_work(capsys):
    assert ends(failing_with(ValueError("it ran")), "photos", "--out=x") == 1
    assert (
        capsys.readouterr().err
        == "error: 'photos' was not understood: every argument is a flag, --name=value\n"
    )


def test_an_option_is_named_as_a_flag_by_a_command_and_as_an_argument_by_python(capsys):
    def main() -> None:
        print(f"note: {option('dims')}")  # not only errors
        to_try = f"try {option('mirror', True)} {option('synchronized', False)}"
        raise InputError(f"{option('dims', 4)} is too few", to_try)

    assert ends(main) == 1
    assert capsys.readouterr() == (
        "note: --dims\n",
        "error: --dims=4 is too few\ntry --mirror --nosynchronized\n",
    )
    with pytest.raises(InputError) as raised:
        main()
    assert str(raised.value) == "dims=4 is too few\ntry mirror=True synchronized=False"
    assert capsys.readouterr() == ("note: dims\n", "")


def test_the_examples_of_errors_run():
    assert doctest.testmod(errors).failed == 0


def test_ctrl_c_is_no_fault(capsys):
    assert ends(failing_with(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "stopped by SIGINT\n")


def test_who_reads_the_first_lines_alone_sees_no_traceback():
    both = f"{sys.executable} -m bct_keras | :"  # which reads nothing, and ends before
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", both], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
