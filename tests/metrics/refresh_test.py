"""What is found while a gallery is re-embedded, against the plain way: every share by itself."""

import numpy as np
import pytest

from bct_keras.evaluate import retrieval
from bct_keras.metrics import search_refresh, strongest
from bct_keras.metrics.refresh import (
    SHARES,
    hot_refresh,
    random_order,
    rank_merging,
    refreshed_rows,
)
from bct_keras.metrics.verification import Sides
from bct_keras.vectors import normalised


def sides(noise: float, seed: int) -> Sides:
    """Returns 480 images of 40 identities, of which the last has nothing in the gallery."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(40), 12)
    centres = np.random.default_rng(99).normal(size=(40, 16))
    rows = centres[labels] + noise * random.normal(size=(480, 16))
    embeddings = normalised(rows).astype(np.float32)
    division = retrieval.divide(labels, np.arange(480))
    kept = division.gallery[labels[division.gallery] < 39]
    return retrieval.Division(division.query, kept).sides(embeddings, labels)


OLD, NEW = sides(1.6, seed=1), sides(1.0, seed=2)


# All queries at once; 16 at a time, with a guess of the strongest impostors that is right, and with
# one that is far too high.
@pytest.mark.parametrize(("sampled", "margin"), [(10**9, 1.3), (20_000, 1.3), (20_000, 1e-3)])
def test_all_shares_at_once_are_what_each_is_by_itself(monkeypatch, sampled, margin):
    monkeypatch.setattr(search_refresh, "SCORES_AT_ONCE", 16 * len(OLD.gallery.labels))
    monkeypatch.setattr(strongest, "SAMPLED", sampled)
    monkeypatch.setattr(strongest, "MARGIN", margin)

    def measure(query, gallery):
        return retrieval.measure(query, gallery).metrics

    plain = hot_refresh(measure, NEW.query, OLD.gallery, NEW.gallery)
    found = retrieval.refreshed(NEW.query, OLD.gallery, NEW.gallery)
    assert list(found["metrics"]) == list(plain["metrics"])
    assert "TAR@FAR=1e-3" in found["metrics"]
    assert "TPIR@FPIR=1e-1" in found["metrics"]
    for metric, values in plain["metrics"].items():
        assert found["metrics"][metric] == pytest.approx(values, abs=1e-12)
        assert found["area"][metric] == pytest.approx(plain["area"][metric], abs=1e-12)
    assert found["metrics"]["top-1"][0] < found["metrics"]["top-1"][-1]


def places(sides: Sides, part: np.ndarray, first: float) -> np.ndarray:
    """Returns the rank of each entry of a part as a share of the part [queries, part]."""
    scores = sides.query.embeddings @ sides.gallery.embeddings[part].T
    ranks = np.argsort(np.argsort(-scores, axis=1), axis=1)
    return (ranks + first) / part.sum()


def test_merged_ranks_are_those_of_two_searches():
    order, labels = random_order(len(OLD.gallery.labels)), OLD.gallery.labels
    expected = []
    for share in SHARES:
        new = refreshed_rows(order, share)
        place = np.empty((len(OLD.query.labels), len(labels)))
        # Of two at the same place the new encoder's goes first.
        place[:, ~new] = places(OLD, ~new, 0.5)
        place[:, new] = places(NEW, new, 0.49)
        first = labels[place.argmin(axis=1)]
        expected.append(np.mean(first == OLD.query.labels))
    assert rank_merging(OLD, NEW)["top-1"] == pytest.approx(expected)
    assert len(set(expected)) > 5
