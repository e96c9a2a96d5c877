"""What a backfill writes to: a gallery, or a field beside the one that is searched."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.orders import Group


class Refilled(Protocol):
    """Entries that can be embedded anew."""

    name: str

    def refresh(self) -> None:
        """Sees what others have written since."""
        ...

    def begin_writing(self, encoder: KnownEncoder) -> None:
        """Begins to write embeddings of this encoder."""
        ...

    def check_may_replace(self, encoder: KnownEncoder) -> None:
        """Raises where searches would fail while some entries are embedded anew."""
        ...

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        """Returns the ids and labels of the entries to embed."""
        ...

    def embedded(self, ids: list[str]) -> Iterator[Group]:
        """Yields what entries are embedded as now, for each encoder that has made some of them."""
        ...

    def replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> int:
        """Writes new embeddings; returns how many, when they are safe."""
        ...
