"""Trains the old encoder first, where none is given, in a process of its own."""

import os
import signal
import subprocess
import sys

from bct_keras.callbacks import checkpoints
from bct_keras.errors import InputError
from bct_keras.progress import is_quiet


class OldStoppedError(checkpoints.StoppedError):
    """The training of the old encoder was asked to stop, and has said so itself."""


def train_apart(arguments: list[str]) -> None:
    """Trains in a process of its own, so that it leaves neither memory nor random state behind."""
    alone = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    command = [sys.executable, "-m", "bct_keras.train", *arguments]
    if is_quiet():
        command.append("--quiet")
    # In a group of its own a terminal's Ctrl-C comes to it once, from here: whoever stops this
    # process means that too.
    process = subprocess.Popen(command, env=alone, process_group=0)

    def pass_on(number: int, frame: object) -> None:
        process.send_signal(number)

    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(each, pass_on) for each in signals]
    try:
        status = process.wait()
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
    if status == checkpoints.RESUME_STATUS:
        raise OldStoppedError
    if status:
        raise InputError("the old encoder could not be trained; the reason stands above")
