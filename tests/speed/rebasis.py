"""Our adapters beside those of rebasis (PyPI), on the same stored embeddings: JSON lines.

python3.12 -m venv /tmp/rebasis && /tmp/rebasis/bin/pip install "rebasis[torch]"
python tests/speed/rebasis.py --rebasis_python=/tmp/rebasis/bin/python --old=runs/old \
    --new=runs/independent --train=data/demo/new --test=data/demo/test

Both are fitted on the same pairs and measured on the same identities, which neither adapter saw,
in both directions. An encoder may be a .npz of embeddings and ids.

`neighbours kept` is what rebasis goes by: how many of the ten nearest that the new encoder finds in
a gallery of its own are found. `against` a row of ours is the adapter of rebasis that is the best
on these very test identities by that metric, in the mean of the draws: more than any user of it
could know. `ratio` is above 1 where ours recovers more. rebasis takes no labels; ours is shown with
and without.
"""

import argparse
import json
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras import adapters
from bct_keras.encoders import load_encoder
from bct_keras.evaluate.retrieval import Retrieval, measure
from bct_keras.metrics.neighbours import nearest, neighbours_kept
from bct_keras.vectors import normalised

PAIRS = 8000
KEPT = "neighbours kept"
METRICS = (KEPT, "TAR@FAR=1e-3", "top-1")
DIRECTIONS = {"to_old": "new -> old", "to_new": "old -> new"}


@dataclass(frozen=True)
class Stored:
    """The embeddings of one data set by both encoders, at length 1."""

    images: Retrieval
    old: np.ndarray  # [images, old dims]
    new: np.ndarray  # [images, new dims]

    @classmethod
    def of(cls, data: str, old: str, new: str) -> "Stored":
        """Returns what two encoders give for a data set."""
        images = Retrieval(data)
        by_old = normalised(images.embed_images(load_encoder(old)))
        by_new = normalised(images.embed_images(load_encoder(new)))
        return cls(images, by_old, by_new)

    def found(self, queries: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
        """Returns the metrics of a search [images, dims] in [images, dims]."""
        division, labels = self.images.division, self.images.labels
        query_side = division.sides(queries, labels).query
        gallery_side = division.sides(gallery, labels).gallery
        measured = measure(query_side, gallery_side).metrics
        by_new = division.sides(self.new, labels)
        truth = nearest(by_new.query.embeddings, by_new.gallery.embeddings)
        rows = nearest(query_side.embeddings, gallery_side.embeddings)
        found = {name: measured[name] for name in METRICS if name != KEPT}
        found[KEPT] = float(neighbours_kept(truth, rows).mean())
        return found

    def searched(self, direction: str, mapped: np.ndarray) -> dict[str, float]:
        """Returns the metrics of mapped queries in the old gallery, or of a mapped gallery."""
        if direction == "to_old":
            return self.found(mapped, self.old)
        return self.found(self.new, mapped)


def of_rebasis(python: str, train: Stored, rows: np.ndarray, test: Stored, seed: int):
    """Returns what rebasis maps the test's embeddings to, by `DIRECTION NAME`."""
    script = Path(__file__).with_name("rebasis_maps.py")
    with tempfile.TemporaryDirectory() as folder:
        stored, mapped = f"{folder}/stored.npz", f"{folder}/mapped.npz"
        np.savez(
            stored,
            old_pairs=train.old[rows].astype(np.float32),
            new_pairs=train.new[rows].astype(np.float32),
            old_test=test.old.astype(np.float32),
            new_test=test.new.astype(np.float32),
        )
        # -P: else `import rebasis` there would find this very file.
        command = [python, "-P", str(script), stored, mapped, f"--seed={seed}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(json.dumps({"rebasis": json.loads(done.stdout.splitlines()[-1]), "seed": seed}))
        with np.load(mapped) as found:
            return {name: found[name] for name in found.files}


def of_ours(train: Stored, rows: np.ndarray, test: Stored, seed: int) -> dict[str, np.ndarray]:
    """Returns what our adapters map the test's embeddings to, by `DIRECTION NAME`."""
    old, new, labels = train.old[rows], train.new[rows], train.images.labels[rows]
    mapped = {}
    for kind in adapters.ADAPTERS:
        for how, given in {"labels": labels, "no labels": None}.items():
            to_old = adapters.fit(kind, new, old, given, seed=seed)
            mapped[f"to_old {kind}, {how}"] = to_old.predict(test.new, verbose=0)
            to_new = adapters.fit(kind, old, new, given, direction="gallery", seed=seed)
            mapped[f"to_new {kind}, {how}"] = to_new.predict(test.old, verbose=0)
    return mapped


def show(name: str, value: float, against: str, ratio: float) -> None:
    figure = {
        "name": name,
        "value": round(value, 4),
        "unit": "share",
        "against": against,
        "ratio": round(ratio, 3),
    }
    print(json.dumps(figure), flush=True)


class Means:
    """Gathers the metrics of maps over draws of the pairs."""

    def __init__(self, test: Stored):
        self.test = test
        self.draws: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)

    def add(self, mapped: dict[str, np.ndarray]) -> None:
        """Measures what one draw gave, by `DIRECTION NAME`."""
        for key, vectors in mapped.items():
            direction, name = key.split(" ", 1)
            self.draws[direction, name].append(self.test.searched(direction, vectors))

    def of(self, direction: str, metric: str) -> dict[str, float]:
        """Returns the mean of each map."""
        means = {}
        for (one, name), draws in self.draws.items():
            if one == direction:
                means[name] = float(np.mean([draw[metric] for draw in draws]))
        return means


def compare(theirs: Means, ours: Means, bar: dict[str, float]) -> None:
    """Prints every map's row.

    Args:
        theirs: What rebasis found.
        ours: What we found.
        bar: The metrics of the old encoder in its own gallery.
    """
    for direction, arrow in DIRECTIONS.items():
        for metric in METRICS:
            rivals = theirs.of(direction, metric)
            best = max(rivals, key=lambda name: rivals[name])
            for name, value in rivals.items():
                label = f"rebasis {name}, {arrow}, {metric}"
                show(label, value, f"old/old {bar[metric]:.4f}", value / bar[metric])
            for name, value in ours.of(direction, metric).items():
                label = f"ours {name}, {arrow}, {metric}"
                rival = f"rebasis {best} {rivals[best]:.4f}"
                show(label, value, rival, value / rivals[best])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rebasis_python", required=True)
    parser.add_argument("--old", default="runs/old")
    parser.add_argument("--new", default="runs/independent")
    parser.add_argument("--train", default="data/demo/new")
    parser.add_argument("--test", default="data/demo/test")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    train = Stored.of(given.train, given.old, given.new)
    test = Stored.of(given.test, given.old, given.new)
    theirs, ours = Means(test), Means(test)
    for seed in range(given.seeds):
        rows = np.random.default_rng(seed).permutation(len(train.old))[:PAIRS]
        theirs.add(of_rebasis(given.rebasis_python, train, rows, test, seed))
        ours.add(of_ours(train, rows, test, seed))
    compare(theirs, ours, test.found(test.old, test.old))


if __name__ == "__main__":
    main()
