"""Compares ours with what the papers' released code gave for the same inputs.

python tests/check_oracles.py DIR

DIR holds the .npz files; the name of each before its number tells which checker of tests/oracles/
takes it. Prints the largest relative error of each key, and which files and keys belong to
something that is not here. Exit status 0 only where every file and key is known, and all that are
ours agree.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from oracles import (
    advbct,
    heads,
    hoc,
    ijbc,
    lce,
    nccl,
    nccl_trained,
    old_features,
    pairwise,
    unibct_refine,
)

# The file's name before its number: module with `check(stored)`, which gives the names of the
# inputs and {key: (our value, the relative difference that is allowed)}. LEFT_OUT of a module, if
# it has one, is {key, or its beginning with the slash: why it is not compared}.
CHECKERS = {
    "advbct": advbct,
    "heads": heads,
    "hoc": hoc,
    "ijbc": ijbc,
    "lce": lce,
    "nccl": nccl,
    "nccl_trained": nccl_trained,
    "old_features": old_features,
    "pairwise": pairwise,
    "unibct_refine": unibct_refine,
}
# Methods that are not here: nothing of ours to compare.
NOT_OURS = {"bt2": "BT2 is no method of ours"}


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest one, relative to the largest value there is; infinite where shapes differ.

    Where their value is NaN there is nothing to compare with, and ours has only to be finite.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        return float("inf")
    if theirs.dtype == bool:
        return float(np.mean(ours != theirs))
    known = ~np.isnan(theirs)
    if not np.isfinite(ours[~known]).all():
        return float("inf")
    if not known.any():
        return 0.0
    scale = np.abs(theirs[known]).max()
    return float(np.abs(ours[known].astype(np.float64) - theirs[known]).max() / (scale or 1.0))


def failures(path: Path) -> list[str]:
    topic = path.stem.rpartition("_")[0]
    if topic in NOT_OURS:
        print(f"{path.name}: not compared, {NOT_OURS[topic]}")
        return []
    checker = CHECKERS.get(topic)
    if checker is None:
        return [
            f"{path.name}: nobody checks such a file; known: {', '.join([*CHECKERS, *NOT_OURS])}"
        ]
    with np.load(path, allow_pickle=False) as file:
        stored = dict(file)
    inputs, results = checker.check(stored)
    found = []
    for key in sorted(stored.keys() - inputs - results.keys()):
        why = reason(key, getattr(checker, "LEFT_OUT", {}))
        if why:
            print(f"{path.name} {key}: not compared, {why}")
        else:
            found.append(f"{key}: not checked")
    for key, (ours, allowed) in results.items():
        error = difference(ours, stored[key])
        print(f"{path.name} {key}: {error:.1e}")
        if not error <= allowed:
            found.append(f"{key}: {error:.2e} of the largest value, allowed {allowed:.0e}")
    return [f"{path.name}: {line}" for line in found]


def reason(key: str, left_out: dict[str, str]) -> str | None:
    for beginning, why in left_out.items():
        if key == beginning or (beginning.endswith("/") and key.startswith(beginning)):
            return why
    return None


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
