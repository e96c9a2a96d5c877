"""Copies the flag files and what a deployment starts from into a folder of your own.

bct init DIR

DIR/configs has the flag files of the demo and of the benchmarks, to be changed; DIR/export has
what serves an encoder (serving), trains on a cluster (cluster) and searches on a device (edge).
Nothing that is there is overwritten. Flag files need not be copied to be used: --flagfile finds
them in the package.
"""

import sys

from absl import flags

from bct_keras import command, stores
from bct_keras.progress import Outcome

GROUPS = {"What is made": ("out",)}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string("out", None, "the folder, in place of DIR")


def main() -> None:
    """Copies the files."""
    from bct_keras.init.run import init

    copied = init(stores.place(command.required("out")))
    command.finish(Outcome(str(copied), {}))


def with_folder_as_flag(arguments: list[str]) -> list[str]:
    """Returns the arguments with the folder as --out, where it stands by itself."""
    program, *others = arguments
    if others and not others[0].startswith("-"):
        others[0] = f"--out={others[0]}"
    return [program, *others]


if __name__ == "__main__":
    define_flags()
    sys.argv = with_folder_as_flag(sys.argv)
    command.run(main, __doc__ or "", GROUPS)
