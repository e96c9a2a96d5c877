"""How every command starts and ends."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from absl import app, flags, logging

from bct_keras import progress, stores
from bct_keras.command import results
from bct_keras.command.help import (
    COMMON_FLAGS,
    HELP,
    Groups,
    help_text,
    nearest,
    no_such_flag,
    wrong_value,
)
from bct_keras.command.help import with_choices as with_choices
from bct_keras.command.plain_stream import LAYOUT, LAYOUT_OF_BARS, PlainStream
from bct_keras.command.results import finish as finish
from bct_keras.errors import InputError, options_as_flags
from bct_keras.printable import line
from bct_keras.untrusted import flag_files


def run(main: Callable[[], None], usage: str, groups: Groups, as_json: bool = False) -> None:
    """Runs `main` with its flags parsed.

    Bad input is one or two plain lines and exit status 1.

    Args:
        main: What the command does; it imports what it needs for that, so that `--help` and a wrong
            flag are answered at once.
        usage: What `--help` says before it lists the flags.
        groups: The flags that `--help` lists, by the titles above them.
        as_json: Whether the command has a result that programs want, and so the flag --json.
    """
    flags.DEFINE_bool("quiet", False, "print nothing but errors and the final result")
    if as_json:
        flags.DEFINE_bool(
            "json",
            False,
            "print the final result as one JSON object, and all else to standard error",
        )
    if HELP & set(sys.argv[1:]):
        show(help_text(usage, groups))
        return
    logging.set_verbosity(logging.ERROR)
    plain_out: Any = PlainStream(sys.stdout, LAYOUT)
    plain_err: Any = PlainStream(sys.stderr, LAYOUT_OF_BARS)

    def divert_and_run(arguments: list[str]) -> None:
        results.divert(flags.FLAGS.quiet, as_json and flags.FLAGS.json)
        guarded(main, arguments)

    with contextlib.redirect_stdout(plain_out), contextlib.redirect_stderr(plain_err):
        app.run(divert_and_run, flags_parser=parsed)


def parsed(arguments: list[str]) -> list[str]:
    """Returns what is left when the flags are read.

    A wrong flag ends the command as any bad input does.
    """
    reader = flag_files.Reader()
    try:
        program, *others = arguments
        return flags.FLAGS([program, *reader.read(others)])
    except InputError as error:
        fail(*str(error).splitlines())
    except flags.UnrecognizedFlagError as error:
        said, hint = no_such_flag(error.flagname)
        fail(f"{reader.place_of(f'--{error.flagname}')}{said}", hint)
    except flags.Error as error:
        said, hint = wrong_value(error)
        fail(f"{reader.place_of(said)}{said}", hint)


def guarded(main: Callable[[], None], arguments: list[str]) -> None:
    """Runs `main`; bad input, and what the machine refuses, ends the command with a plain line."""
    try:
        if len(arguments) > 1:
            raise InputError(
                f"'{arguments[1]}' was not understood: every argument is a flag, --name=value"
            )
        with options_as_flags():
            main()
    except InputError as error:
        fail(*str(error).splitlines())
    except KeyboardInterrupt:
        print("stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        fail(told(error))


def told(error: Exception) -> str:
    """Returns a plain line on what the machine or an object store refuses; raises all else."""
    if stores.is_of_store(error):
        return line(stores.explained(error))
    if not isinstance(error, OSError) or error.errno is None:  # not the machine's, as a full disk
        raise error
    return line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)


def fail(*lines: str) -> NoReturn:
    """Ends the command, which could not do its work."""
    shown = [line(text) for text in lines]
    print("error: " + "\n".join(shown), file=sys.stderr)
    sys.exit(1)


def fail_to_choose(what: str, name: str, known: Iterable[str]) -> NoReturn:
    """Ends the command, for there is no such command or action.

    Args:
        what: "command" or "action".
        name: What was given in its place.
        known: The names of those that there are.
    """
    known = list(known)
    if name.startswith("-"):
        fail(
            f"the {what} is needed before {name}: one of {', '.join(known)}",
            "--help tells what they do",
        )
    like = nearest(name, known) or f"there are {', '.join(known)}; "
    fail(f"there is no {what} '{name}'", f"{like}--help tells what they do")


def show(text: str) -> None:
    """Prints a page, of which its reader may want the first lines alone, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python prints what is left once more as it ends: nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Prints a line at once, so that it stands there before the work that follows."""
    print(text, flush=True)


def loading() -> None:
    """Tells somebody at a terminal what the first seconds of most commands are for."""
    if sys.stderr.isatty() and not progress.is_quiet():
        print("loading Keras and TensorFlow, which takes some seconds", file=sys.stderr, flush=True)


def define_engine(parts: bool = True) -> None:
    """Defines the flags that say who does the work, of each command that is done in pieces.

    Args:
        parts: Whether others may do other parts of it.
    """
    flags.DEFINE_string(
        "engine",
        "local",
        "who does the work: local(processes=0), the processes of this machine, where 0 is as many "
        "as are of use, or ray(address=auto, actors=0, num_cpus=0, num_gpus=0), a Ray cluster; the "
        "result is the same",
    )
    if not parts:
        return
    flags.DEFINE_string(
        "part",
        None,
        "do only this part of the work, as in 3/64: the others run elsewhere, at any time, and "
        "whoever finishes last commits",
    )


def flags_again() -> str:
    """Returns what a flag file has to say to start the same work again; not how it is told."""
    lines = []
    for text in flags.FLAGS.flags_into_string().splitlines():
        name = text.partition("=")[0].removeprefix("--").removeprefix("no")
        if name not in COMMON_FLAGS:
            lines.append(f"{text}\n")
    return "".join(lines)


def required(name: str) -> str:
    """Returns the value of a flag that has to be given."""
    value = flags.FLAGS[name].value
    if not value:
        raise InputError(f"--{name} is needed; --help tells what it takes")
    return value
