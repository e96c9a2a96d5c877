"""Tests what all protocols share: an encoder embeds the images once, whoever measures."""

from pathlib import Path

import numpy as np
import pytest

from bct_keras.encoders import Encoder
from bct_keras.evaluate import compatibility
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.protocol import Protocol, adopted
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.run import evaluate
from bct_keras.export.gate import Gate
from bct_keras.metrics.measured import Measured
from bct_keras.metrics.verdict import Rule
from bct_keras.prepare.run import prepare


class Counting(Encoder):
    """Embeds by the colours of a corner; counts the images that it has embedded."""

    def __init__(self, folder: Path, name: str, size: int = 4):
        path = folder / f"{name}.keras"
        path.write_text(name)  # its fingerprint
        super().__init__(path, 28, size * size * 3)
        self.size = size
        self.images = 0

    def embed(self, images: np.ndarray) -> np.ndarray:
        self.images += len(images)
        return images[:, : self.size, : self.size].reshape(len(images), -1).astype(np.float32)


@pytest.fixture
def spec(tmp_path) -> str:
    prepare("synthetic(identities=4, images=3, image_size=28)", "none", tmp_path / "data")
    return f"retrieval({tmp_path / 'data'})"


def test_proof_gate_and_report_embed_the_images_once(spec, tmp_path):
    protocols = build_protocols([spec], EmbeddingCache(tmp_path / "embeddings"))
    old, new = Counting(tmp_path, "old"), Counting(tmp_path, "new")
    compatibility.known_of_old(protocols[spec], old)
    Gate(protocols, old, new, 0.01, Rule()).results()
    found = evaluate(old, new, protocols, tmp_path / "report")
    assert (old.images, new.images) == (12, 12)  # 4 identities of 3 images
    again = evaluate(old, new, [spec], tmp_path / "alone")  # beside it, so with the same embeddings
    assert again["protocols"] == found["protocols"]
    assert (old.images, new.images) == (12, 12)


def test_of_an_encoder_that_is_not_to_be_cached_nothing_is_kept(spec, tmp_path):
    (protocol,) = build_protocols([spec], EmbeddingCache(tmp_path / "embeddings")).values()
    encoder = Counting(tmp_path, "trained")
    encoder.cached = False
    for _ in range(2):
        protocol.embed(encoder)
    assert encoder.images == 24
    assert not (tmp_path / "embeddings").exists()


def test_notes_are_on_the_encoders_of_the_report_alone(spec, tmp_path):
    (protocol,) = build_protocols([spec]).values()

    class Collapsed(Counting):
        def embed(self, images: np.ndarray) -> np.ndarray:
            return np.ones((len(images), self.dims), np.float32)

    fine, collapsed = Counting(tmp_path, "fine", size=28), Collapsed(tmp_path, "collapsed")
    for encoder in (fine, collapsed):
        protocol.embed(encoder)
    assert not any("collapsed" in note for note in protocol.notes([fine]))
    assert protocol.notes([fine, collapsed])[0].startswith(
        f"warning: {collapsed.path} seems to have collapsed"
    )


class Own:
    """Is a protocol as a user writes it, without a base class."""

    def embed(self, encoder):
        return 1, 2

    def measure(self, query, gallery):
        return {"query": query, "gallery": gallery}

    def made_from(self):
        return {"own": 3}


def test_a_protocol_of_the_users_own_needs_no_base_class():
    protocol = adopted(Own())
    assert isinstance(protocol, Protocol)
    sides = protocol.embed(None)  # pyright: ignore[reportArgumentType]
    assert protocol.metrics(sides.query, sides.gallery) == {"query": 1, "gallery": 2}
    assert (protocol.made_from(), protocol.notes([]), protocol.searched_names()) == (
        {"own": 3},
        [],
        [],
    )
    assert issubclass(Own, Protocol)
    assert not issubclass(dict, Protocol)


def test_a_protocol_of_ours_is_taken_as_it_is():
    class Derived(Own, Protocol):
        def measure(self, query, gallery):
            return Measured({"top-1": 1.0})

    protocol = Derived()
    assert adopted(protocol) is protocol
    assert protocol.metrics(1, 2) == {"top-1": 1.0}
