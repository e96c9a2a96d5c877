"""How every command starts and ends."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from bct_keras.errors import InputError


def run(main: Callable[[], None], usage: str) -> None:
    """Runs `main` with its flags parsed; bad input is one or two plain lines and exit status 1."""
    if {"--help", "-h", "-help"} & set(sys.argv[1:]):
        _, _, described = flags.FLAGS.main_module_help().partition(":\n")
        print(f"{usage.strip()}\n\nFlags:\n{described}")
        return
    logging.set_verbosity(logging.ERROR)
    app.run(lambda arguments: guarded(main, arguments))


def guarded(main: Callable[[], None], arguments: list[str]) -> None:
    try:
        if len(arguments) > 1:
            raise InputError(f"'{arguments[1]}' was not understood: every argument is a flag, --name=value")
        main()
    except InputError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno is None:  # not the machine's, such as a full disk
            raise
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))


def fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def required(name: str) -> str:
    value = flags.FLAGS[name].value
    if not value:
        raise InputError(f"--{name} is needed; --help tells what it takes")
    return value
