"""What every gallery promises, checked on each kind of them."""

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery.backfill import EmbeddedImages, backfill
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.milvus import MilvusGallery
from bct_keras.gallery.orders import farthest, random, stored
from bct_keras.gallery.spaces import Query

DIMS = 16
OLD = KnownEncoder("0" * 64, DIMS, "runs/old")
NEW = KnownEncoder("1" * 64, DIMS, "runs/new")
FITS = Compatibility(NEW.fingerprint, OLD.fingerprint, "2" * 64, "compatible")


@pytest.fixture(params=["file", "milvus"])
def opened(request, tmp_path):
    """Opens one and the same gallery, as often as it is called."""
    if request.param == "milvus":
        pytest.importorskip("milvus_lite")
        # Milvus Lite lets one process have one client of a folder at a time.
        return lambda: MilvusGallery(str(tmp_path / "people.db"))
    return lambda: FileGallery(str(tmp_path / "people.gallery"))


def directions(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, DIMS)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def ids(count: int, first: int = 0) -> list[str]:
    return [f"photo {number} ü.jpg" for number in range(first, first + count)]


def labels(count: int, first: int = 0) -> list[str]:
    return [f"person {number // 3}" for number in range(first, first + count)]


def filled(gallery: Gallery, count: int = 30) -> np.ndarray:
    embeddings = directions(count)
    assert gallery.add(OLD, ids(count), labels(count), 7 * embeddings) == count
    return embeddings


class Given:
    """Images that stand for their new embeddings: entry number i is embedded anew as row i."""

    def __init__(self, embeddings: np.ndarray, missing: tuple[str, ...] = ()):
        self.embeddings, self.missing = embeddings, missing

    def __contains__(self, ident: object) -> bool:
        return ident not in self.missing

    def read(self, ids: list[str]) -> np.ndarray:
        return self.embeddings[[int(ident.split()[1]) for ident in ids]]


def embed(images: np.ndarray) -> np.ndarray:
    return images


def test_any_encoder_may_begin_a_gallery(opened):
    with opened() as gallery:
        assert gallery.encoders_in_use() == {}
        gallery.check_may_join(OLD)
        filled(gallery)
        assert gallery.encoders_in_use() == {OLD: 30}


def test_the_entry_itself_is_found_first_with_all_that_is_known_of_it(opened):
    with opened() as gallery:
        embeddings = filled(gallery)
    with opened() as gallery:
        found = gallery.search(OLD.fingerprint, 3 * embeddings[[4, 9]], 3)
    assert [match.id for match in (found[0][0], found[1][0])] == ["photo 4 ü.jpg", "photo 9 ü.jpg"]
    assert [match.label for match in (found[0][0], found[1][0])] == ["person 1", "person 3"]
    assert found[0][0].encoder == OLD.fingerprint
    assert found[0][0].score == pytest.approx(1.0, abs=1e-4)


def test_the_list_is_that_of_exact_search(opened):
    with opened() as gallery:
        embeddings = filled(gallery)
        queries = directions(5, seed=1)
        found = gallery.search(OLD.fingerprint, queries, 30)
    cosines = queries @ embeddings.T
    for row, matches in zip(cosines, found, strict=True):
        assert [match.id for match in matches] == [ids(30)[number] for number in np.argsort(-row)]
        np.testing.assert_allclose(
            [match.score for match in matches], np.sort(row)[::-1], atol=2e-4
        )


@pytest.mark.parametrize("wanted", [["person 2"], ["person 9", "person 0"], ["nobody"], [""]])
def test_of_some_labels_as_many_are_found_as_were_asked_for(opened, wanted):
    """A filter after the search would find fewer: the labels' entries are not the best ones."""
    with opened() as gallery:
        embeddings = filled(gallery)
        query = -directions(30)[6:7]  # the farthest of all entries is one of person 2
        found = gallery.find(Query(OLD.fingerprint, query, labels=tuple(wanted)), 3)[0]
        everybody = gallery.find(Query(OLD.fingerprint, query), 30)[0]
    cosines = embeddings @ query[0]
    those = [number for number in np.argsort(-cosines) if labels(30)[number] in wanted]
    assert [match.id for match in found] == [ids(30)[number] for number in those[:3]]
    of_labels = [match for match in everybody if match.label in wanted]
    assert found == of_labels[:3]


def test_an_id_is_there_once(opened):
    with opened() as gallery:
        embeddings = filled(gallery, 10)
        assert gallery.add(OLD, ids(12), labels(12), directions(12, seed=5)) == 2
        assert gallery.add(OLD, ids(1, 20) * 2, labels(2), directions(2)) == 1
    with opened() as gallery:
        assert sum(gallery.describe().entries.values()) == 13
        found = gallery.search(OLD.fingerprint, embeddings[:1], 20)[0]
    assert len(found) == len({match.id for match in found}) == 13
    assert found[0].score == pytest.approx(1.0, abs=1e-4)  # the first of the same id stays


def test_a_query_of_an_encoder_not_known_to_fit_is_refused(opened):
    with opened() as gallery:
        filled(gallery)
        with pytest.raises(
            InputError, match=r"holds entries of runs/old \(000000000000\).*\n.*declare the report"
        ):
            gallery.search(NEW.fingerprint, directions(1), 3)
        gallery.declare(FITS)
        assert len(gallery.search(NEW.fingerprint, directions(1), 3)[0]) == 3


def test_compatibility_has_a_direction(opened):
    with opened() as gallery:
        filled(gallery)
        gallery.declare(FITS)
        assert gallery.add(NEW, ids(5, 100), labels(5, 100), directions(5)) == 5
    with opened() as gallery:
        assert len(gallery.search(NEW.fingerprint, directions(1), 40)[0]) == 35
        with pytest.raises(InputError, match="holds entries of runs/new"):
            gallery.search(OLD.fingerprint, directions(1), 3)


def test_a_mixed_gallery_gives_one_ranked_list(opened):
    new = directions(30, seed=8)
    with opened() as gallery:
        old = filled(gallery)
        gallery.declare(FITS)
        some = [1, 5, 20]
        gallery.replace(NEW, [ids(30)[i] for i in some], [labels(30)[i] for i in some], new[some])
    mixed = old.copy()
    mixed[some] = new[some]
    query = directions(1, seed=9)
    with opened() as gallery:
        found = gallery.search(NEW.fingerprint, query, 50)[0]
        assert gallery.describe().entries == {OLD: 27, NEW: 3}
    assert [match.id for match in found] == [
        ids(30)[number] for number in np.argsort(-(query @ mixed.T)[0])
    ]
    assert {match.id for match in found if match.encoder == NEW.fingerprint} == {
        ids(30)[i] for i in some
    }


def test_backfill_leaves_every_entry_once_and_embedded_anew(opened):
    new = directions(600, seed=8)
    with opened() as gallery:
        filled(gallery, 600)
        gallery.declare(FITS)
        assert backfill(gallery, NEW, EmbeddedImages(Given(new), embed), random(3)) == (600, [])
    with opened() as gallery:
        assert gallery.describe().entries == {NEW: 600}
        for start in (0, 590):
            found = gallery.search(NEW.fingerprint, new[start : start + 10], 1)
            assert [matches[0].id for matches in found] == ids(10, start)
            assert [matches[0].label for matches in found] == labels(10, start)
        assert len(gallery.search(NEW.fingerprint, new[:1], 1000)[0]) == 600


def test_backfill_goes_on_where_it_was_stopped(opened):
    new = directions(600, seed=8)
    seen: list[int] = []

    def stops(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return images

    with opened() as gallery:
        filled(gallery, 600)
        gallery.declare(FITS)
        with pytest.raises(KeyboardInterrupt):
            backfill(gallery, NEW, EmbeddedImages(Given(new), stops), random(3))
        done = sum(seen[:2])
        assert gallery.describe().entries == {OLD: 600 - done, NEW: done}
        assert len(gallery.search(NEW.fingerprint, new[:1], 1000)[0]) == 600
        assert backfill(gallery, NEW, EmbeddedImages(Given(new), embed), random(3)) == (
            600 - done,
            [],
        )
        assert gallery.describe().entries == {NEW: 600}


def test_backfill_does_first_what_comes_first(opened):
    new = directions(300, seed=8)
    wanted = [ids(300)[number] for number in range(299, 43, -1)]

    def stops(images: np.ndarray) -> np.ndarray:
        if len(images) < 256:
            raise KeyboardInterrupt
        return images

    with opened() as gallery:
        filled(gallery, 300)
        gallery.declare(FITS)
        with pytest.raises(KeyboardInterrupt):
            backfill(
                gallery,
                NEW,
                EmbeddedImages(Given(new), stops),
                lambda entries: np.argsort([-int(n.split()[1]) for n in entries.ids]),
            )
        found = gallery.search(NEW.fingerprint, new[:1], 1000)[0]
    assert {match.id for match in found if match.encoder == NEW.fingerprint} == set(wanted)


def test_backfill_does_first_what_lies_farthest_from_its_label(opened):
    new = directions(300, seed=8)
    seen: list[str] = []

    class Watched(Given):
        def read(self, ids: list[str]) -> np.ndarray:
            seen.extend(ids)
            return super().read(ids)

    with opened() as gallery:
        old = filled(gallery, 300)
        gallery.declare(FITS)
        backfill(gallery, NEW, EmbeddedImages(Watched(new), embed), farthest())
    means = np.repeat(old.reshape(100, 3, DIMS).mean(1), 3, axis=0)
    distances = np.linalg.norm(old - means, axis=1)
    done = [distances[int(ident.split()[1])] for ident in seen]
    assert len(done) == 300
    assert (np.diff(done) <= 1e-4).all()  # vectors are kept in 16 bits a coordinate


def test_backfill_without_some_images_says_which_and_leaves_them(opened):
    new = directions(30, seed=8)
    with opened() as gallery:
        filled(gallery)
        gallery.declare(FITS)
        missing = (ids(30)[3], ids(30)[11])
        done, left = backfill(gallery, NEW, EmbeddedImages(Given(new, missing), embed), stored())
        assert (done, sorted(left)) == (28, sorted(missing))
        assert gallery.describe().entries == {OLD: 2, NEW: 28}


def test_backfill_without_any_image_or_by_an_encoder_that_does_not_fit_is_refused(opened):
    with opened() as gallery:
        filled(gallery)
        with pytest.raises(InputError, match="not known to be compatible"):
            backfill(gallery, NEW, EmbeddedImages(Given(directions(30)), embed), stored())
        gallery.declare(FITS)
        with pytest.raises(InputError, match="none of the 30 entries"):
            backfill(
                gallery, NEW, EmbeddedImages(Given(directions(30), tuple(ids(30))), embed), stored()
            )
        assert gallery.describe().entries == {OLD: 30}


def test_other_dimensions_are_refused(opened):
    wide = KnownEncoder("3" * 64, 32, "runs/wide")
    with opened() as gallery:
        filled(gallery)
        message = (
            r"holds 16 dimensions and runs/wide|no report says that runs/wide .* goes with them"
        )
        with pytest.raises(InputError, match=message):
            gallery.add(wide, ids(1, 50), labels(1), np.ones((1, 32)))
        with pytest.raises(InputError, match="holds 16 dimensions and the query has 32"):
            gallery.search(OLD.fingerprint, np.ones((1, 32)), 1)


def test_what_was_removed_is_found_no_more(opened):
    with opened() as gallery:
        embeddings = filled(gallery)
        removal = gallery.remove([ids(30)[4], ids(30)[29]], ["person 2"])
        assert (removal.entries, removal.unknown_ids, removal.unknown_labels) == (5, [], [])
        left = [number for number in range(30) if number not in (4, 6, 7, 8, 29)]
        assert {match.id for match in gallery.search(OLD.fingerprint, embeddings[4:5], 100)[0]} == {
            ids(30)[number] for number in left
        }
    with opened() as gallery:
        assert gallery.describe().entries == {OLD: 25}
        found = gallery.search(OLD.fingerprint, embeddings[left], 1)
    assert [matches[0].id for matches in found] == [ids(30)[number] for number in left]


def test_what_is_not_there_cannot_be_removed_and_is_told(opened):
    with opened() as gallery:
        filled(gallery)
        removal = gallery.remove([ids(30)[0], "nobody"], ["person 9", "person 99", "person"])
        assert (removal.entries, removal.unknown_ids) == (4, ["nobody"])
        assert removal.unknown_labels == ["person 99", "person"]
        again = gallery.remove([ids(30)[0]], ["person 9"])
        assert (again.entries, again.unknown_ids, again.unknown_labels) == (
            0,
            [ids(30)[0]],
            ["person 9"],
        )
        assert gallery.remove().entries == 0
        assert gallery.describe().entries == {OLD: 26}


def test_an_entry_may_come_back_only_by_being_added(opened):
    new = directions(30, seed=8)
    with opened() as gallery:
        filled(gallery)
        gallery.declare(FITS)
        names = ids(30), labels(30)
        gallery.remove(ids(2))
        assert gallery.replace(NEW, names[0][:3], names[1][:3], new[:3]) == 1
        assert gallery.describe().entries == {OLD: 27, NEW: 1}
        assert gallery.add(NEW, *(each[:3] for each in names), new[:3]) == 2
        found = gallery.search(NEW.fingerprint, new[:3], 1)
        assert [matches[0].id for matches in found] == ids(3)


def test_backfill_brings_nothing_back(opened):
    new = directions(600, seed=8)

    def stops(images: np.ndarray) -> np.ndarray:
        if len(images) < 256:
            raise KeyboardInterrupt
        return images

    with opened() as gallery:
        filled(gallery, 600)
        gallery.declare(FITS)
        with pytest.raises(KeyboardInterrupt):
            backfill(gallery, NEW, EmbeddedImages(Given(new), stops), stored())
    with opened() as gallery:
        assert gallery.remove([*ids(10), *ids(10, 590)]).entries == 20
    with opened() as gallery:
        done = sum(gallery.describe().entries.values()) - gallery.describe().entries[NEW]
        assert backfill(gallery, NEW, EmbeddedImages(Given(new), embed), random(3)) == (done, [])
        assert gallery.describe().entries == {NEW: 580}


def test_an_encoder_that_shuts_out_every_query_is_refused_though_it_fits_each_of_the_others(opened):
    """Declares first -> second -> third -> first: two go together each time, all three do not."""
    first, second, third = (KnownEncoder(letter * 64, DIMS, letter) for letter in "abc")
    with opened() as gallery:
        gallery.add(first, ids(1), labels(1), directions(1))
        for query, entries in ((first, second), (second, third), (third, first)):
            gallery.declare(Compatibility(query.fingerprint, entries.fingerprint, "", "compatible"))
        gallery.add(second, ids(1, 1), labels(1), directions(1))
        with pytest.raises(InputError, match="together no query could be searched"):
            gallery.add(third, ids(1, 2), labels(1), directions(1))
        assert len(gallery.search(first.fingerprint, directions(1), 5)[0]) == 2


def test_a_name_that_is_no_text_is_refused(opened):
    with opened() as gallery, pytest.raises(InputError, match="is no text in UTF-8"):
        gallery.add(OLD, ["photo \udcff.jpg"], ["y"], directions(1))


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((1, DIMS)), "all zeros"),
        (np.full((1, DIMS), np.nan), "finite"),
        (np.ones((2, DIMS)), "1 ids, 1 labels and 2 embeddings"),
        (np.ones((1, DIMS + 1)), "gives 16 dimensions; these embeddings have 17"),
    ],
)
def test_bad_embeddings_are_refused(opened, embeddings, message):
    with opened() as gallery:
        filled(gallery, 2)
        with pytest.raises(InputError, match=message):
            gallery.add(OLD, ["x"], ["y"], embeddings)
        assert gallery.describe().entries == {OLD: 2}


def test_names_that_are_too_long_are_refused(opened):
    with opened() as gallery, pytest.raises(InputError, match="too long"):
        gallery.add(OLD, ["x" * 1025], ["y"], directions(1))


def test_large_embeddings_keep_their_direction(opened):
    with opened() as gallery:
        embeddings = directions(3)
        gallery.add(OLD, ids(3), labels(3), (embeddings * 1e30).astype(np.float32))
        found = gallery.search(OLD.fingerprint, embeddings[2:], 1)[0][0]
    assert (found.id, found.score) == (ids(3)[2], pytest.approx(1.0, abs=1e-4))


def test_a_gallery_that_is_not_there_is_not_made_by_looking(opened, tmp_path):
    with opened() as gallery:
        for look in (
            gallery.describe,
            lambda: gallery.search(OLD.fingerprint, directions(1), 1),
            lambda: gallery.declare(FITS),
            lambda: gallery.entries_of_others(OLD.fingerprint),
        ):
            with pytest.raises(InputError, match="no such gallery; gallery add makes one"):
                look()
    assert not (tmp_path / "people.gallery").exists()


def test_no_matches_cannot_be_asked_for(opened):
    with opened() as gallery:
        filled(gallery, 2)
        with pytest.raises(InputError, match="at least one"):
            gallery.search(OLD.fingerprint, directions(1), 0)
