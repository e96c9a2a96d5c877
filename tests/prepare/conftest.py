"""What several tests of `prepare` share."""

import pytest

from bct_keras.prepare import looking, workplace, writing


@pytest.fixture
def small_pieces(monkeypatch):
    """So that a few images are many shards, worth many processes."""
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 16)
    monkeypatch.setattr(looking, "RECORDS_PER_CHECK", 16)
    monkeypatch.setattr(workplace, "RECORDS_WORTH_A_PROCESS", 1)
