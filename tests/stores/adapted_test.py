"""Adapters and advice of stored embeddings that lie in a store, and so does what is made."""

from pathlib import Path

import numpy as np
import pytest

from bct_keras import stores
from bct_keras.adapt import __main__ as adapt
from bct_keras.advise import __main__ as advise

PEOPLE, EACH, DIMS = 40, 6, 6


@pytest.fixture
def stored(bucket, tmp_path) -> Path:
    """A folder of the store with embeddings by a new encoder and by an old one."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), EACH)
    person = random.normal(size=(PEOPLE, DIMS))[labels]
    ids = np.array([f"text {row}" for row in range(len(labels))])
    for name, noise in (("old", 0.9), ("new", 0.3)):
        embeddings = person + noise * random.normal(size=person.shape)
        np.savez(tmp_path / f"{name}.npz", embeddings=embeddings, ids=ids, labels=labels)
        stores.put(tmp_path / f"{name}.npz", bucket / f"{name}.npz")
    return bucket


def test_an_adapter_is_made_and_found_again(stored, here):
    flags = [f"--new={stored}/new.npz", f"--old={stored}/old.npz", "--kind=linear"]
    out = stored / "adapted"
    status, said, errors = here(adapt, *flags, f"--out={out}")
    assert (status, errors) == (0, "")
    assert f"report: {out}/report/report.html" in said
    names = stores.names_in(out)
    assert {"adapter.keras", "manifest.json", "report/report.html"} <= set(names)
    status, again, errors = here(adapt, *flags, f"--out={out}")
    assert (status, errors) == (0, "")
    assert "is up to date" in again
    assert stores.names_in(out) == names


def test_advice_is_written(stored, here):
    out = stored / "advice"
    status, said, _ = here(
        advise,
        f"--new={stored}/new.npz",
        f"--old={stored}/old.npz",
        "--kind=procrustes",
        "--gallery_size=1e6",
        "--queries_per_day=1000",
        f"--out={out}",
    )
    assert status == 0
    assert f"report: {out}/report.html" in said
    assert {"report.html", "report.json", "adapted/adapter.keras"} <= set(stores.names_in(out))
