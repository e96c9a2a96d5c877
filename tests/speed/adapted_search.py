"""What adapters of each kind gain when they search for new queries in an old gallery: JSON lines.

python -m bct_keras.train --flagfile=configs/independent.flags
python tests/speed/adapted_search.py --old=runs/old --new=runs/independent

They are fitted on images that the new encoder was trained on, and measured by the protocol
retrieval(data/demo/test) on identities that neither encoder saw. `against` is the old encoder in
its own gallery; `ratio` is above 1 where the adapter gains.
"""

import argparse
import json

import numpy as np

from bct_keras import adapters
from bct_keras.encoders import load_encoder
from bct_keras.evaluate.retrieval import Retrieval, measure
from bct_keras.vectors import normalised

PAIRS = 8000
METRICS = ("TAR@FAR=1e-3", "top-1", "TPIR@FPIR=1e-1")


def searched(test: Retrieval, query: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
    """Returns the metrics of queries by one encoder in a gallery of another [images, dims]."""
    queries = test.division.sides(query, test.labels).query
    images = test.division.sides(gallery, test.labels).gallery
    found = measure(queries, images).metrics
    return {name: found[name] for name in METRICS}


def show(name: str, found: dict[str, float], old: dict[str, float]) -> None:
    for metric, value in found.items():
        figure = {
            "name": f"{name}, {metric}",
            "value": round(value, 4),
            "unit": "share",
            "against": f"old/old {old[metric]:.4f}",
            "ratio": round(value / old[metric], 3),
        }
        print(json.dumps(figure), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", default="runs/old")
    parser.add_argument("--new", default="runs/independent")
    parser.add_argument("--train", default="data/demo/new")
    parser.add_argument("--test", default="data/demo/test")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    old, new = load_encoder(given.old), load_encoder(given.new)
    train, test = Retrieval(given.train), Retrieval(given.test)
    old_pairs, new_pairs = train.embed_images(old), train.embed_images(new)
    old_test, new_test = (normalised(test.embed_images(encoder)) for encoder in (old, new))
    bar = searched(test, old_test, old_test)
    show("new/new", searched(test, new_test, new_test), bar)
    for seed in range(given.seeds):
        rows = np.random.default_rng(seed).permutation(len(train.labels))[:PAIRS]
        x, y = new_pairs[rows], old_pairs[rows]
        for labels in (train.labels[rows], None):
            how = f"{'no ' if labels is None else ''}labels, seed {seed}"
            for kind in adapters.ADAPTERS:
                to_old = adapters.fit(kind, x, y, labels, seed=seed)
                adapted = to_old.predict(new_test, verbose=0)
                show(f"{kind} new -> old, {how}", searched(test, adapted, old_test), bar)
                to_new = adapters.fit(kind, y, x, labels, direction="gallery", seed=seed)
                moved = to_new.predict(old_test, verbose=0)
                show(f"{kind} old -> new, {how}", searched(test, new_test, moved), bar)


if __name__ == "__main__":
    main()
