"""Compares ours with what the papers' released code gave for the same inputs.

python tests/check_oracles.py DIR

DIR holds the .npz files; the name of each before its number tells which checker of tests/oracles/ takes it. Prints the
largest relative error of each key. Exit status 0 only where every file and key is known, and all of them agree.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from oracles import advbct, heads, ijbc, nccl, nccl_trained, old_features, pairwise

# The file's name before its number: module with `check(stored)`, which gives the names of the inputs and
# {key: (our value, the relative difference that is allowed)}
CHECKERS = {"advbct": advbct, "heads": heads, "ijbc": ijbc, "nccl": nccl, "nccl_trained": nccl_trained, "old_features": old_features, "pairwise": pairwise}


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest one, relative to the largest value there is; infinite where shapes differ."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        return float("inf")
    if theirs.dtype == bool:
        return float(np.mean(ours != theirs))
    scale = np.abs(theirs).max()
    return float(np.abs(ours.astype(np.float64) - theirs).max() / (scale or 1.0))


def failures(path: Path) -> list[str]:
    checker = CHECKERS.get(path.stem.rpartition("_")[0])
    if checker is None:
        return [f"{path.name}: nobody checks such a file; known: {', '.join(CHECKERS)}"]
    with np.load(path, allow_pickle=False) as file:
        stored = dict(file)
    inputs, results = checker.check(stored)
    found = [f"{key}: not checked" for key in sorted(stored.keys() - inputs - results.keys())]
    for key, (ours, allowed) in results.items():
        error = difference(ours, stored[key])
        print(f"{path.name} {key}: {error:.1e}")
        if not error <= allowed:
            found.append(f"{key}: {error:.2e} of the largest value, allowed {allowed:.0e}")
    return [f"{path.name}: {line}" for line in found]


def main(folder: Path) -> int:
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        print(f"{folder}: no .npz files there", file=sys.stderr)
        return 1
    found = [line for path in paths for line in failures(path)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
