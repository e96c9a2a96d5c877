"""What only Milvus can do wrong; the rest is in gallery_test.py."""

import logging
import random

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import milvus_facts, milvus_field
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.milvus import MilvusGallery
from bct_keras.gallery.milvus_client import rows_of
from bct_keras.gallery.spaces import Part

pytest.importorskip("milvus_lite")

OLD, NEW = KnownEncoder("0" * 64, 4, "old"), KnownEncoder("1" * 64, 4, "new")
# What a condition may take for something else, and characters of one to four bytes.
NASTY = [
    *"'\"\\\n\r\t%_*?[](){}|&;,$#/ \x01\x1b\x7f\x85ü漢🙂",
    "\u2028",
    "\u202e",
    "\\n",
    "' or id != '",
    '" or "" == "',
]


def nasty_names(count: int) -> list[str]:
    draw = random.Random(0)
    names = {*NASTY, *("a" + text for text in NASTY), *(text + "a" for text in NASTY)}
    while len(names) < count:
        names.add("".join(draw.choices(NASTY, k=draw.randint(2, 9))))
    return sorted(names)


@pytest.mark.parametrize(
    ("uri", "message"), [("nowhere/people.db", "not exists"), ("people.txt", "is illegal")]
)
def test_an_address_that_cannot_be_is_told(tmp_path, uri, message):
    with pytest.raises(InputError, match=f"{uri}: Milvus says: .*{message}"):
        MilvusGallery(str(tmp_path / uri) if uri.startswith("no") else uri)


def test_an_error_of_the_server_is_one_plain_line(tmp_path):
    encoder = KnownEncoder("0" * 64, 4, "old")
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.add(encoder, ["a"], ["b"], np.ones((1, 4)))
        gallery.client.drop_collection("gallery")  # by somebody else
        with pytest.raises(InputError, match=r"^[^\n]*Milvus says: [^\n]*$"):
            gallery.search(encoder.fingerprint, np.ones((1, 4)), 3)
    assert not logging.getLogger("pymilvus.decorators").isEnabledFor(
        logging.ERROR
    )  # it would add a traceback


def test_two_collections_are_two_galleries(tmp_path):
    encoder = KnownEncoder("0" * 64, 4, "old")
    uri = str(tmp_path / "people.db")
    with MilvusGallery(uri) as gallery:
        gallery.add(encoder, ["a"], ["b"], np.ones((1, 4)))
    with MilvusGallery(uri, collection="staff") as gallery:
        with pytest.raises(InputError, match="no such gallery"):
            gallery.refresh()
        assert gallery.add(encoder, ["a"], ["b"], np.ones((1, 4))) == 1


def test_milvus_lite_makes_no_graph_at_every_merge_of_its_files(tmp_path):
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.add(OLD, ["a"], ["b"], np.ones((1, 4)))
        assert gallery.client.describe_index("gallery", "embedding")["index_type"] == "FLAT"


def test_what_the_new_encoder_has_made_already_is_copied_before_a_backfill(tmp_path):
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.add(OLD, ["a"], ["b"], np.ones((1, 4)))
        gallery.declare(Compatibility(NEW.fingerprint, OLD.fingerprint, "", "compatible"))
        gallery.add(NEW, ["c"], ["d"], np.ones((1, 4)))
        place = gallery.to_backfill(NEW)
        place.begin_writing(NEW)
        copied = gallery.store.field(gallery.store.collection_of(NEW.fingerprint))
        assert copied.there(["a", "c"]) == {"c"}


def test_an_entry_of_an_encoder_that_was_not_admitted_is_left_out(tmp_path):
    """As it may come in between the question whether the query fits and the search."""
    old, new = KnownEncoder("0" * 64, 4, "old"), KnownEncoder("1" * 64, 4, "new")
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.add(old, ["a"], ["b"], np.ones((1, 4)))
        gallery._add(new, ["c"], ["d"], np.ones((1, 4)) / 2)
        part = Part(np.ones((1, 4), np.float32) / 2, [old], 1, None)
        (found,) = gallery.nearest([part], 5)
    assert [match.id for match in found] == ["a"]


def test_ids_and_labels_may_be_made_of_any_characters(tmp_path, monkeypatch):
    # So that any of them ends a page.
    monkeypatch.setattr(milvus_field, "AT_ONCE", 7)
    monkeypatch.setattr(milvus_field, "LARGE_PAGE", 7)
    names = nasty_names(120)
    embeddings = np.random.default_rng(0).standard_normal((len(names), 4))
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        assert gallery.add(OLD, names, names, embeddings) == len(names)
        assert (
            gallery.add(OLD, names[::-1], ["another"] * len(names), embeddings) == 0
        )  # none is written over
        assert gallery.entries_of_others(NEW.fingerprint) == (names, names)
        found = gallery.search(OLD.fingerprint, embeddings[:1], len(names))[0]
        assert sorted((match.id, match.label) for match in found) == [
            (name, name) for name in names
        ]
        assert found[0].id == names[0]
        gallery.declare(Compatibility(NEW.fingerprint, OLD.fingerprint, "", "compatible"))
        assert gallery.replace(NEW, names[:9], names[:9], embeddings[:9]) == 9
        assert gallery.entries_of_others(NEW.fingerprint) == (names[9:], names[9:])
        for number in range(0, len(names), 2):
            by_id, by_label = names[number : number + 2]
            removal = gallery.remove(ids=[by_id], labels=[by_label])
            assert (removal.entries, removal.unknown_ids, removal.unknown_labels) == (2, [], [])
            if number % 40 == 0:
                assert gallery.entries_of_others("") == (names[number + 2 :], names[number + 2 :])
        assert gallery.describe().entries == {}


def test_a_writer_sees_another_that_has_begun_and_written_nothing_yet(tmp_path):
    """Milvus Lite has one client at a time, so one plays both."""
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.begin_writing(OLD)
        with pytest.raises(InputError, match="together no query could be searched"):
            gallery.add(NEW, ["a"], ["b"], np.ones((1, 4)))
        assert gallery.encoders_in_use() == {}
        assert (
            gallery.add(OLD, ["a"], ["b"], np.ones((1, 4))) == 1
        )  # the refused one is no longer in its way


def test_a_writer_that_was_killed_does_not_shut_others_out_for_ever(tmp_path, monkeypatch):
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.begin_writing(OLD)
        gallery.facts._announced.clear()  # as a kill forgets to withdraw
        monkeypatch.setattr(milvus_facts, "ANNOUNCED_SECONDS", 0)
        assert gallery.add(NEW, ["a"], ["b"], np.ones((1, 4))) == 1


def test_what_a_backfill_brings_back_meanwhile_is_removed_as_well(tmp_path):
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.add(OLD, ["a", "b"], ["x", "y"], np.ones((2, 4)))
        delete, again = gallery.client.client.delete, iter([["a"]])

        def brought_back(*given, **named):
            delete(*given, **named)
            for ids in again:
                rows = rows_of(OLD.fingerprint, ids, ["x"], np.ones((1, 4), np.float32) / 2)
                gallery.live.upsert(rows)

        gallery.client.client.delete = brought_back
        assert gallery.remove(ids=["a"]).entries == 1
        gallery.client.client.delete = delete
        assert [match.id for match in gallery.search(OLD.fingerprint, np.ones((1, 4)), 5)[0]] == [
            "b"
        ]
