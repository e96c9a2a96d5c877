"""The files of checkpoints: which there are, whether they can be read, how they are removed."""

import os
import re
import shutil
from pathlib import Path

import tensorflow as tf

NAME = re.compile(r"ckpt-(\d+)")  # of a checkpoint's folder
# Of the first file of a checkpoint that an earlier version wrote.
FLAT_NAME = re.compile(r"ckpt-(\d+)\.index")
ANY_NAME = re.compile(r"\.?ckpt-(\d+)(\..*)?")  # of all that belongs to one, finished or not


def prefixes(folder: Path) -> dict[int, str]:
    """Returns the prefix by which TensorFlow reads each checkpoint, by its number of steps.

    Each is a folder that was renamed into its place, so it was whole once: what it lacks, it has
    lost.
    """
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            found[int(match[1])] = str(path / "ckpt")
        elif match := FLAT_NAME.fullmatch(path.name):
            found.setdefault(int(match[1]), str(path.with_suffix("")))
    return found


def fault_of(prefix: str) -> str:
    """Returns why a checkpoint cannot be read, "" where it can.

    Every tensor is read, and its checksum compared.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError, OSError) as error:
        return first_line(error)
    return ""


def faults_of_newest(found: dict[int, str]) -> dict[int, str]:
    """Returns why checkpoints cannot be read, from the newest to the first that can.

    Args:
        found: The prefix of each checkpoint, by step.
    """
    faults = {}
    for step in sorted(found, reverse=True):
        fault = fault_of(found[step])
        if not fault:
            break
        faults[step] = fault
    return faults


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def sync(path: Path) -> None:
    """Waits until a file is on the disk, so that a power cut after its renaming leaves it whole."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
