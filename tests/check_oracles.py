"""Compares ours with what the papers' released code gave for the same inputs.

python tests/check_oracles.py DIR

DIR holds the .npz files; the name of each before its number tells which checker of tests/oracles/ takes it. Every key
is an input or is compared; exit status 0 only where all of them agree.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from oracles import ijbc, nccl, old_features, pairwise

# The file's name before its number: module with `check(stored)`, which gives the names of the inputs and
# {key: (our value, the relative difference that is allowed)}
CHECKERS = {"ijbc": ijbc, "nccl": nccl, "old_features": old_features, "pairwise": pairwise}


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
    checker = CHECKERS[path.stem.rpartition("_")[0]]
    with np.load(path, allow_pickle=False) as file:
        stored = dict(file)
    inputs, results = checker.check(stored)
    found = [f"{key}: not checked" for key in sorted(stored.keys() - inputs - results.keys())]
    worst = 0.0
    for key, (ours, allowed) in results.items():
        share = difference(ours, stored[key])
        worst = max(worst, share)
        if not share <= allowed:
            found.append(f"{key}: {share:.2e} of the largest value, allowed {allowed:.0e}")
    print(f"{path.name}: {len(results)} values compared, largest relative difference {worst:.1e}")
    return [f"{path.name}: {line}" for line in found]


def main(folder: Path) -> int:
    known = [path for path in sorted(folder.glob("*.npz")) if path.stem.rpartition("_")[0] in CHECKERS]
    if not known:
        print(f"{folder}: none of {', '.join(CHECKERS)} is there", file=sys.stderr)
        return 1
    found = [line for path in known for line in failures(path)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
