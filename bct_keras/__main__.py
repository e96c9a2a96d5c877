"""Trains, measures and ships encoders whose queries can be searched in an old encoder's gallery.

bct COMMAND --flag=value ...
bct COMMAND --help

runs a command, or tells its flags. The same works as python -m bct_keras.COMMAND.
"""

import runpy
import sys

from bct_keras import __version__, command

# In the order in which somebody may want them.
COMMANDS = {
    "train": "trains a compatible encoder, proves it and exports it",
    "prepare": "makes a data set of images",
    "evaluate": "measures new queries in an old gallery, and writes a report",
    "adapt": "fits a small map between two encoders that stay unchanged",
    "advise": "says which route to an old gallery to take, at what cost",
    "export": "writes an encoder for servers and devices, and checks it",
    "gallery": "keeps a gallery of old and new embeddings, and searches it",
    "embed": "embeds a data set with any encoder",
    "explain": "shows what both encoders look at, and what goes wrong",
    "init": "copies flag files and files to deploy by into a folder",
    "benchmark": "trains and compares methods, in one report",
    "benchmark.curves": "draws several benchmarks over their numbers of classes",
}


def main() -> None:
    """Runs the command that stands after the program's name."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in command.HELP:
        command.show(command.with_choices(__doc__ or "", "Commands", COMMANDS))
    elif name == "--version":
        print(f"bct_keras {__version__}")
    elif name in COMMANDS:
        sys.argv = [f"bct {name}", *sys.argv[2:]]
        runpy.run_module(f"bct_keras.{name}", run_name="__main__", alter_sys=True)
    else:
        command.fail_to_choose("command", name, COMMANDS)


if __name__ == "__main__":
    main()
