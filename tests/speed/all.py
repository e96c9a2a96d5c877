"""Runs the speed scripts, each in a process of its own, and prints one table in Markdown.

python tests/speed/all.py --torch=/tmp/torch/bin/python     # all of them
python tests/speed/all.py input heads                       # these alone

Amounts are smaller than those of a single script. Nothing is written to a file.
A script that fails or takes too long is named, and the others are run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import figures

FOLDER = Path(__file__).parent
MOST_SECONDS = 600
# What each is given; TORCH is the Python that has torch.
SCRIPTS: dict[str, list[str]] = {
    "adapters": [],
    "check": ["--images=50000"],
    "cluster": ["--images=20000"],
    "export": [],
    "gallery": [],
    "gallery_in_c": [],
    "gallery_move": [],
    "heads": ["--nocurve", "--torch_python=TORCH"],
    "help": [],
    "ijbc": ["numbers"],
    "input": [],
    "many_shards": ["--shards=10000"],
    "methods": ["--batch_size=64", "--repeats=1"],
    "page": [],
    "prepare": ["--images=20000"],
    "refine": ["--records=200000"],
    "report": [],
    "synthetic": [],
    "train": ["--torch=TORCH"],
}
# Those that need what this machine may not have, and what that is.
BY_HAND = {
    "adapted_search": "runs/old and runs/independent, which train.py of the package makes",
    "milvus": "a server or Milvus Lite, and minutes",
    "rebasis": "an environment with rebasis, and runs/old and runs/independent",
}
# What the others import or start.
PARTS = {"all", "figures", "heads_torch", "pytorch_step", "rebasis_maps", "recordio_files"}


def run(name: str, torch: str) -> list[figures.Figure]:
    """Runs one script and returns its figures; says on standard error where it fails."""
    arguments = [argument.replace("TORCH", torch) for argument in SCRIPTS[name]]
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    output = ""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=MOST_SECONDS)
        output = done.stdout
        if done.returncode:
            print(f"{name} ended with status {done.returncode}", file=sys.stderr)
    except subprocess.TimeoutExpired as error:
        partial = error.stdout or b""  # bytes, although text was asked for
        output = partial.decode() if isinstance(partial, bytes) else partial
        print(f"{name} took more than {MOST_SECONDS} s", file=sys.stderr)
    found = [figures.read(line) for line in output.splitlines()]
    return [figure for figure in found if figure is not None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch")
    options = parser.parse_args()
    for name in options.names:
        if name not in SCRIPTS:
            why = f"; it is run by hand, it needs {BY_HAND[name]}" if name in BY_HAND else ""
            parser.error(f"{name} is none of {', '.join(SCRIPTS)}{why}")
    found: list[figures.Figure] = []
    for name in options.names or SCRIPTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found += run(name, options.torch)
    print(figures.table(found, figures.processor()))


if __name__ == "__main__":
    main()
