"""Lets two writers of one gallery file work at once, as two commands do.

What one checks still holds when it writes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bct_keras

# Forks twice for each trial; galleries need no TensorFlow, whose start takes seconds. Prints what
# became of each trial.
TRIALS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
sys.modules["tensorflow"] = None  # importing it fails

import numpy as np
from bct_keras.errors import InputError
from bct_keras.gallery.backfill import EmbeddedImages, backfill
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.orders import stored

DIMS = 8
A, B, C = (KnownEncoder(letter * 64, DIMS, letter) for letter in "abc")

class Images:
    def __contains__(self, ident):
        return True

    def read(self, ids):
        return np.ones((len(ids), DIMS))

def fit(path, *pairs):
    with FileGallery(path) as gallery:
        for query, entries in pairs:
            gallery.declare(Compatibility(query.fingerprint, entries.fingerprint, "", "compatible"))

def add(path, encoder):
    with FileGallery(path) as gallery:
        for number in range(2):
            ids = [f"{encoder.name} {number} {each}" for each in range(20)]
            embeddings = np.random.default_rng(number).standard_normal((20, DIMS))
            gallery.add(encoder, ids, ids, embeddings)

def fill(path, encoder):
    with FileGallery(path) as gallery:
        backfill(gallery, encoder, EmbeddedImages(Images(), lambda images: images), stored())

def nothing(path):
    pass

def fits(path):
    add(path, A)
    fit(path, (B, A))

def only_one_fits(path):
    add(path, A)
    fit(path, (B, A), (C, A))

PLAYS = {
    "strangers begin a gallery": (nothing, (add, A), (add, B)),
    "strangers join a gallery": (only_one_fits, (add, B), (add, C)),
    "a stranger joins while a backfill begins": (only_one_fits, (fill, B), (add, C)),
    "both fit": (fits, (add, A), (add, B)),
}

def begun(write, path, starts):
    child = os.fork()
    if child:
        return child
    status = 0
    try:
        os.read(starts, 1)
        do, encoder = write
        do(path, encoder)
    except InputError as error:
        refusals = ("together no query", "not known to be compatible")
        status = 1 if any(refusal in str(error) for refusal in refusals) else 2
    except BaseException:
        status = 3
    os._exit(status)

prepare, *writers = PLAYS[sys.argv[3]]
for trial in range(int(sys.argv[4])):
    path = f"{sys.argv[2]}/{trial}.gallery"
    prepare(path)
    starts, go = os.pipe()
    children = [begun(write, path, starts) for write in (writers if trial % 2 else writers[::-1])]
    os.write(go, b"go")
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(starts), os.close(go)
    searched = 0
    with FileGallery(path) as gallery:
        entries = sum(gallery.describe().entries.values())
        for encoder in (A, B, C):
            try:
                found = gallery.search(encoder.fingerprint, np.ones((1, DIMS)), 1000)[0]
                searched += len(found) == entries
            except InputError:
                pass
    print(json.dumps({"statuses": statuses, "entries": entries, "searched": searched}))
"""
REFUSED = 1


@pytest.mark.parametrize("trials", [5, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("play", "both", "entries"),
    [
        ("strangers begin a gallery", False, {40}),
        ("strangers join a gallery", False, {80}),
        ("a stranger joins while a backfill begins", False, {40, 80}),
        ("both fit", True, {80}),
    ],
)
def test_two_at_once_both_fit_or_one_waits_and_is_refused(tmp_path, play, both, entries, trials):
    package = str(Path(bct_keras.__file__).parents[1])
    arguments = [sys.executable, "-c", TRIALS, package, str(tmp_path), play, str(trials)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == trials
    for trial in results:
        assert sorted(trial["statuses"]) == ([0, 0] if both else [0, REFUSED])
        assert trial["entries"] in entries
        assert trial["searched"] >= 1  # some encoder still finds all of it
