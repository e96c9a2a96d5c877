"""Searches galleries of old and new entries, which lie in two spaces, as one ranked list."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import file, vectors
from bct_keras.gallery.facts import BY_COMPATIBLE, BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.spaces import Query
from bct_keras.metrics.odds import Odds

OLD_DIMS, NEW_DIMS, IDENTITIES, IMAGES = 8, 12, 30, 4
OLD = KnownEncoder("0" * 64, OLD_DIMS, "old")
NEW = KnownEncoder("1" * 64, NEW_DIMS, "new")
LABELS = np.repeat(np.arange(IDENTITIES), IMAGES)
NAMES = [f"person {label}/{number}.jpg" for number, label in enumerate(LABELS)]


def embedded(dims: int, noise: float, seed: int) -> np.ndarray:
    """Returns an embedding of each image, near that of its identity."""
    draw = np.random.default_rng(seed)
    identities = np.random.default_rng(dims).standard_normal((IDENTITIES, dims))
    return vectors.unit(identities[LABELS] + noise * draw.standard_normal((len(LABELS), dims)))


# Old entries by the old encoder, which tells identities badly, and new ones by the new encoder;
# queries for each.
OLD_ENTRIES, OLD_QUERIES = embedded(OLD_DIMS, 0.8, 1), embedded(OLD_DIMS, 0.6, 2)
NEW_ENTRIES, NEW_QUERIES = embedded(NEW_DIMS, 0.3, 3), embedded(NEW_DIMS, 0.3, 4)


def odds_of(queries: np.ndarray, entries: np.ndarray) -> Odds:
    cosines = queries @ entries.T
    same = LABELS[:, None] == LABELS
    return Odds.of_pairs(cosines[same], cosines[~same])


WITH_OLD, WITH_NEW = odds_of(OLD_QUERIES, OLD_ENTRIES), odds_of(NEW_QUERIES, NEW_ENTRIES)
FITS = Compatibility(
    NEW.fingerprint, OLD.fingerprint, "", "compatible", BY_COMPATIBLE, WITH_OLD.facts()
)
OWN = Compatibility(NEW.fingerprint, NEW.fingerprint, "", "its own", BY_EMBEDDING, WITH_NEW.facts())
QUERY = Query(NEW.fingerprint, NEW_QUERIES, OLD_QUERIES)
REFRESHED = np.random.default_rng(0).random(len(LABELS)) < 0.4


def filled(path: Path, *declared: Compatibility, refreshed: np.ndarray = REFRESHED) -> None:
    """Makes a gallery of which some entries are embedded anew."""
    labels = [str(label) for label in LABELS]
    with FileGallery(str(path)) as gallery:
        gallery.add(OLD, NAMES, labels, OLD_ENTRIES)
        for each in declared:
            gallery.declare(each)
        rows = np.flatnonzero(refreshed)
        for lot in np.array_split(rows, 5) if len(rows) else []:
            some = [NAMES[row] for row in lot], [labels[row] for row in lot]
            gallery.replace(NEW, *some, NEW_ENTRIES[lot])


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "mixed.gallery"
    filled(path, FITS, OWN)
    return path


def expected_scores() -> np.ndarray:
    """Returns the log odds of each query with each entry."""
    with_old = WITH_OLD.log_odds(OLD_QUERIES @ OLD_ENTRIES.T)
    with_new = WITH_NEW.log_odds(NEW_QUERIES @ NEW_ENTRIES.T)
    return np.where(REFRESHED, with_new, with_old)


def test_old_and_new_entries_stand_in_one_list_by_what_their_cosines_say(path):
    with FileGallery(str(path)) as gallery:
        found = gallery.find(QUERY, len(LABELS))
        assert gallery.describe().dims == [OLD_DIMS, NEW_DIMS]
    for scores, matches in zip(expected_scores(), found, strict=True):
        rows = [NAMES.index(match.id) for match in matches]
        assert sorted(rows) == list(range(len(LABELS)))
        in_order = scores[rows]
        # Vectors are kept in 16 bits a coordinate.
        assert (np.diff(in_order) <= 0.02).all()
        makers = [match.encoder for match in matches]
        assert makers == [(NEW if REFRESHED[row] else OLD).fingerprint for row in rows]


def test_a_rate_is_the_share_of_impostors_that_stand_as_high_in_the_whole_list(path):
    with FileGallery(str(path)) as gallery:
        (matches,) = gallery.find(Query(NEW.fingerprint, NEW_QUERIES[:1], OLD_QUERIES[:1]), 40)
    rates = [match.rate or 0.0 for match in matches]
    assert rates == sorted(rates)
    scores = expected_scores()
    impostors = scores[LABELS[:, None] != LABELS]
    for match in matches[10:]:
        score = scores[0, NAMES.index(match.id)]
        share = float((impostors >= score).mean())
        assert match.rate == pytest.approx(share, rel=0.4, abs=0.01)


@pytest.mark.parametrize("label", sorted({*LABELS.tolist()})[:3])
def test_of_one_label_both_kinds_are_found_as_they_stand_in_the_whole_list(path, label):
    query = Query(NEW.fingerprint, NEW_QUERIES[:3], OLD_QUERIES[:3])
    count = int((label == LABELS).sum())
    with FileGallery(str(path)) as gallery:
        whole = gallery.find(query, len(LABELS))
        found = gallery.find(replace(query, labels=(str(label),)), count + 1)
    for matches, everybody in zip(found, whole, strict=True):
        assert len(matches) == count
        assert matches == [match for match in everybody if match.label == str(label)]


def test_in_one_space_a_rate_is_that_of_the_cosine(tmp_path):
    path = tmp_path / "old.gallery"
    filled(path, FITS, refreshed=np.zeros(len(LABELS), bool))
    with FileGallery(str(path)) as gallery:
        (matches,) = gallery.find(Query(NEW.fingerprint, NEW_QUERIES[:1], OLD_QUERIES[:1]), 9)
        cosines = np.array([match.score for match in matches])
        # The new embedding itself is of other dimensions, and nobody asks for it.
        alone = gallery.search(NEW.fingerprint, OLD_QUERIES[:1], 9)
    assert alone == [matches]
    assert (np.diff(cosines) <= 0).all()
    expected = WITH_OLD.impostors.rate(cosines)
    np.testing.assert_allclose([match.rate or 0.0 for match in matches], expected, rtol=0.02)


def test_two_spaces_without_a_calibration_are_refused_and_told_how_to_get_one(tmp_path):
    path = tmp_path / "mixed.gallery"
    without = replace(FITS, calibration={})
    with pytest.raises(InputError, match=r"two embeddings.*those of new .*\n.*bct evaluate"):
        filled(path, without)
    with FileGallery(str(path)) as gallery:
        assert gallery.describe().entries == {OLD: len(LABELS)}


def test_two_spaces_of_the_same_dimensions_are_refused_by_a_search(tmp_path):
    path = tmp_path / "mixed.gallery"
    new = KnownEncoder("1" * 64, OLD_DIMS, "new")
    with FileGallery(str(path)) as gallery:
        gallery.add(OLD, NAMES, NAMES, OLD_ENTRIES)
        gallery.declare(replace(FITS, calibration={}))
        gallery.replace(new, NAMES[:9], NAMES[:9], NEW_ENTRIES[:9, :OLD_DIMS])
        both = Query(new.fingerprint, NEW_QUERIES[:, :OLD_DIMS], OLD_QUERIES)
        with pytest.raises(InputError, match=r"two embeddings.*stand for:\n.*bct evaluate"):
            gallery.find(both, 3)
        one = Query(new.fingerprint, OLD_QUERIES)
        assert len(gallery.find(one, 3)[0]) == 3  # it is of one space, whose cosines compare


def test_a_later_declaration_without_a_calibration_does_not_undo_one_that_has_it(path):
    with FileGallery(str(path)) as gallery:
        before = gallery.find(QUERY, 5)
        gallery.declare(replace(FITS, calibration={}, finding="undecided"))
        assert gallery.find(QUERY, 5) == before
        assert len(gallery.compatibilities()) == 3


def test_tidying_keeps_both_kinds_of_entries_and_their_ids(path, monkeypatch):
    with FileGallery(str(path)) as gallery:
        before = gallery.find(QUERY, 200)
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(file, "SPARE_BLOCKS", 0)
    gone = {NAMES[3], NAMES[50]}
    with FileGallery(str(path)) as gallery:
        gallery.remove(gone)
        gallery.add(OLD, ["later"], ["x"], OLD_ENTRIES[:1])
        gallery.remove(["later"])
        # Entries of 8 and of 12 dimensions lie in blocks of their own.
        assert len({part.vectors.high.shape[1] for part in gallery.contents.rows}) == 2
    with FileGallery(str(path)) as gallery:
        after = gallery.find(QUERY, 200)
        counts = gallery.describe().entries
    assert sum(counts.values()) == len(LABELS) - 2
    for some, others in zip(before, after, strict=True):
        left = [(match.id, match.label, match.score) for match in some if match.id not in gone]
        # Rates depend on how many entries of each kind there are.
        assert sorted((match.id, match.label, match.score) for match in others) == sorted(left)


def test_a_wider_query_searches_entries_of_its_own_of_both_widths(tmp_path):
    """An encoder whose first 8 coordinates fit the old gallery has entries of 8 and of 12."""
    first = KnownEncoder(NEW.fingerprint, OLD_DIMS, "new")
    own = Compatibility(NEW.fingerprint, NEW.fingerprint, "", "", BY_EMBEDDING, WITH_NEW.facts())
    wide = Query(NEW.fingerprint, NEW_QUERIES[:2], NEW_QUERIES[:2, :OLD_DIMS])
    with FileGallery(str(tmp_path / "wide.gallery")) as gallery:
        gallery.add(first, ["a"], ["x"], NEW_ENTRIES[:1, :OLD_DIMS])
        gallery.declare(own)
        gallery.add(NEW, ["b"], ["x"], NEW_ENTRIES[:1])
        found = gallery.find(wide, 5)
    assert [{match.id for match in matches} for matches in found] == [{"a", "b"}] * 2
