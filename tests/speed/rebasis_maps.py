"""What rebasis makes of stored embeddings: run by rebasis.py, in the environment of rebasis.

Maps with every one of its adapters, fitted on all pairs, and with the one that it chooses itself
(`auto`), fitted on those pairs that it does not choose by.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import argparse
import json

import numpy as np
from rebasis import __version__
from rebasis.core import CANDIDATE_METHODS, fit_candidates, l2_normalize
from rebasis.probe.groundtruth import build_tier0
from rebasis.probe.migration import fit_migration_adapter
from rebasis.probe.runner import run_probe

CHOSEN_BY = 1000  # the default of `rebasis fit --heldout`


def own_choice(old: np.ndarray, new: np.ndarray, seed: int):
    """Returns what `rebasis fit --method=auto` chooses: the adapter of each direction.

    Args:
        old: [pairs, dims] by the old encoder, of length 1.
        new: [pairs, dims] by the new one.
        seed: Which pairs choose goes by it.
    """
    order = np.random.default_rng(seed).permutation(len(new))
    queries, fitted = order[:CHOSEN_BY], order[CHOSEN_BY:]
    truth = build_tier0(new, new[queries], queries)
    probed = run_probe(
        old_doc_vectors=old,
        new_doc_vectors=new,
        fit_indices=fitted,
        ground_truth=truth,
        old_query_vectors=old[queries],
        new_query_vectors=new[queries],
        seed=seed,
    )
    moved = fit_migration_adapter(
        old_doc_vectors=old,
        new_doc_vectors=new,
        new_query_vectors=new[queries],
        ground_truth=truth,
        fit_indices=fitted,
    )
    return probed.adapter, moved.adapter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stored", help=".npz with old_pairs, new_pairs, old_test and new_test")
    parser.add_argument("mapped", help="the .npz that is written: `to_old NAME` and `to_new NAME`")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with np.load(given.stored) as stored:
        vectors = {name: l2_normalize(stored[name]) for name in stored.files}
    old, new = vectors["old_pairs"], vectors["new_pairs"]

    mapped = {}
    # A candidate whose dependency is missing (residual_mlp needs torch) raises: no row is left out.
    for candidate in fit_candidates(new, old, methods=CANDIDATE_METHODS, skip_unavailable=False):
        queries = candidate.adapter.apply(vectors["new_test"])
        mapped[f"to_old {candidate.method}"] = l2_normalize(queries)
    for candidate in fit_candidates(old, new, methods=CANDIDATE_METHODS, skip_unavailable=False):
        gallery = candidate.adapter.apply(vectors["old_test"])
        mapped[f"to_new {candidate.method}"] = l2_normalize(gallery)
    to_old, to_new = own_choice(old, new, given.seed)
    mapped["to_old auto"] = l2_normalize(to_old.apply(vectors["new_test"]))
    mapped["to_new auto"] = l2_normalize(to_new.apply(vectors["old_test"]))
    np.savez(given.mapped, **mapped)
    chosen = {"to_old": to_old.type_name, "to_new": to_new.type_name}
    print(json.dumps({"version": __version__, "auto": chosen}))


if __name__ == "__main__":
    main()
