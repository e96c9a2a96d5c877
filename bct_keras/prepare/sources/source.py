"""What `prepare` reads images from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bct_keras.errors import BadImageError


@dataclass(frozen=True)
class Record:
    """An image as it came, and its name."""

    image: bytes  # JPEG or PNG
    id: str  # where it came from; stable


class Source(ABC):
    """Records in file order, each readable by its position alone.

    So any process may write any shard. `prepare` forks when the source is open: `read` must not
    move a position in an open file (os.pread does not).
    """

    image_size: int  # the side in pixels at which encoders see the images
    identities: list[str]  # the identities' names, in file order
    has_names = False  # whether they are names that people gave, and not numbers
    groups: list[str] | None = None  # for each identity what must stay together in a test split
    labels: np.ndarray  # [records] int64: the identity of each record; every identity occurs

    # Records that have no position: found while opening, with where and why.
    broken: Sequence[str] = ()
    passed_over: Sequence[str] = ()  # what lies among the images and is none that can be read
    # Whether `prepare` decodes every image, some 300 microseconds, or looks at headers and ends
    # alone, 5 of them.
    decode_to_check: bool = True

    @abstractmethod
    def read(self, position: int) -> Record:
        """Returns a record; raises BadImageError for one that cannot be read.

        `on_bad=skip` leaves such a record out.
        """

    def read_several(self, positions: Sequence[int]) -> Iterator[Record | BadImageError]:
        """Yields the record at each position, or the error of one that cannot be read."""
        return map(self.read_or_error, positions)

    def read_or_error(self, position: int) -> Record | BadImageError:
        """Returns a record, or the error that tells why it cannot be read."""
        try:
            return self.read(position)
        except BadImageError as error:
            return error

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a text that changes whenever the records may have changed."""
