"""What only Milvus can do wrong; the rest is in gallery_test.py."""

import logging

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.galleries.gallery import KnownEncoder
from bct_keras.galleries.milvus import MilvusGallery

pytest.importorskip("milvus_lite")


@pytest.mark.parametrize(("uri", "message"), [("nowhere/people.db", "not exists"), ("people.txt", "is illegal")])
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
    assert not logging.getLogger("pymilvus.decorators").isEnabledFor(logging.ERROR)  # it would add a traceback


def test_two_collections_are_two_galleries(tmp_path):
    encoder = KnownEncoder("0" * 64, 4, "old")
    uri = str(tmp_path / "people.db")
    with MilvusGallery(uri) as gallery:
        gallery.add(encoder, ["a"], ["b"], np.ones((1, 4)))
    with MilvusGallery(uri, collection="staff") as gallery:
        with pytest.raises(InputError, match="no such gallery"):
            gallery.refresh()
        assert gallery.add(encoder, ["a"], ["b"], np.ones((1, 4))) == 1


def test_an_entry_of_an_encoder_that_was_not_admitted_is_left_out(tmp_path):
    """As it may come in between the question whether the query fits and the search."""
    old, new = KnownEncoder("0" * 64, 4, "old"), KnownEncoder("1" * 64, 4, "new")
    with MilvusGallery(str(tmp_path / "people.db")) as gallery:
        gallery.add(old, ["a"], ["b"], np.ones((1, 4)))
        gallery.add(new, ["c"], ["d"], np.ones((1, 4)))
        (found,) = gallery.nearest(np.ones((1, 4), np.float32) / 2, 5, [old.fingerprint])
    assert [match.id for match in found] == ["a"]
