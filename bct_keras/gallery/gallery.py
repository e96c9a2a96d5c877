"""What every gallery does, whatever keeps its entries."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.entering import checked
from bct_keras.gallery.facts import (
    Compatibility,
    CutOver,
    Description,
    KnownEncoder,
    LetGo,
    Match,
    Removal,
)
from bct_keras.gallery.orders import Group
from bct_keras.gallery.refilled import Refilled
from bct_keras.gallery.refusals import none_for_moved, none_together, not_admitted, not_calibrated
from bct_keras.gallery.spaces import Declared, Part, Query, can_be_searched, parts_of, planned

Transform = Callable[[np.ndarray], np.ndarray]  # [entries, dims] -> [entries, other dims]


class Gallery(ABC):
    """Entries, each of an id, a label and an embedding of length 1.

    Each id is there once, and each entry knows the encoder that made it.
    """

    name: str

    def search(self, encoder: str, embeddings: np.ndarray, top: int) -> list[list[Match]]:
        """Returns a list of matches for each query, the best first.

        Args:
            encoder: The fingerprint of the encoder that made the queries.
            embeddings: The queries [queries, dims], of any length; all entries are searched by it.
            top: How many matches to find for each.
        """
        return self.find(Query(encoder, embeddings), top)

    def find(self, query: Query, top: int) -> list[list[Match]]:
        """Returns a list of matches for each query, the best first.

        Args:
            query: What is searched by, for old and for new entries.
            top: How many matches to find for each.
        """
        if top < 1:
            raise InputError(f"{top} matches were asked for; at least one has to be")
        self.refresh()
        in_use = self.encoders_in_use()
        declared = Declared(self.compatibilities())
        plan, foreign = planned(query, in_use, declared, self.encoders_behind)
        if foreign:
            self.check()  # a damaged gallery may seem to hold what it does not
            raise not_admitted(self.name, query.encoder, foreign[0])
        if not in_use:
            return [[] for _ in query.embedding]
        return self.nearest(parts_of(query, plan, declared, self.name), top)

    def check_admitted(self, encoder: str, in_use: Iterable[KnownEncoder]) -> None:
        """Raises unless queries of this encoder are known to fit every entry."""
        declared = Declared(self.compatibilities())
        for known in in_use:
            if not declared.fits(encoder, known):
                raise not_admitted(self.name, encoder, known)

    def check_may_replace(self, encoder: KnownEncoder) -> None:
        """Raises unless queries of an encoder can be searched when it has made some entries."""
        others = list(self.encoders_to_fit())
        self.check_admitted(encoder.fingerprint, others)
        declared = Declared(self.compatibilities())
        if not declared.can_search(encoder.fingerprint, [*others, encoder]):
            raise not_calibrated(self.name, encoder)

    def check_may_join(self, encoder: KnownEncoder, to_come: Iterable[Compatibility] = ()) -> None:
        """Raises where with this encoder's entries no query at all could be searched any more."""
        self.check_together(encoder, self.encoders_to_fit(), to_come)

    def check_together(
        self,
        encoder: KnownEncoder,
        there: Iterable[KnownEncoder],
        to_come: Iterable[Compatibility] = (),
    ) -> None:
        """Raises where no query could be searched among entries of these encoders at once.

        Args:
            encoder: The one whose entries are to come.
            there: Those of the other entries.
            to_come: What is going to be declared.
        """
        others = []
        for known in there:
            is_the_same = known.fingerprint == encoder.fingerprint and known.dims == encoder.dims
            if not is_the_same:
                others.append(known)
        declared = Declared([*self.compatibilities(), *to_come])
        if not can_be_searched(declared, [*others, encoder]):
            raise none_together(self.name, encoder, others)

    def check_all_together(self, encoders: list[KnownEncoder]) -> None:
        """Raises where no query could be searched among entries of all these encoders at once."""
        if encoders:
            first, *others = encoders
            self.check_together(first, others)

    def add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> int:
        """Adds entries; returns how many are new, when they are safe.

        An id that is there already stays as it is.
        """
        units = checked(encoder, ids, labels, embeddings)
        self.begin_writing(encoder)
        self.check_may_join(encoder)
        return self._add(encoder, ids, labels, units)

    def replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> int:
        """Embeds the same entries anew; returns how many, when they are safe.

        None that was removed comes back.
        """
        units = checked(encoder, ids, labels, embeddings)
        self.refresh()
        self.begin_writing(encoder)
        self.check_may_replace(encoder)
        if len(set(ids)) < len(ids):
            raise InputError(f"{self.name}: an id given twice cannot be embedded anew")
        return self._replace(encoder, ids, labels, units)

    def to_backfill(self, encoder: KnownEncoder) -> Refilled:
        """Returns where a backfill with this encoder writes: here, entry by entry."""
        return self

    def cut_over(self, fingerprint: str = "") -> CutOver:
        """Makes the embeddings that lie beside those that are searched; raises where none can lie.

        Args:
            fingerprint: Of their encoder; none where they are of one alone.
        """
        raise InputError(
            f"{self.name}: a backfill embeds its entries anew in their place: there is nothing to "
            "cut over"
        )

    def move(self, base: KnownEncoder, moved: KnownEncoder, transform: Transform) -> Iterator[int]:
        """Moves all entries of an encoder by an adapter; yields how many, as they are safe.

        Their vectors are kept as originals. What is done is known by its encoder, so that a second
        move goes on where the first was stopped.

        Args:
            base: The encoder that made the entries.
            moved: The same behind the adapter.
            transform: The adapter: [entries, dims] -> [entries, other dims].
        """
        self.begin_moving()
        self.check_may_move(base, moved)
        yield from self._move(base, moved, transform)

    def check_may_move(
        self, base: KnownEncoder, moved: KnownEncoder, to_come: Iterable[Compatibility] = ()
    ) -> None:
        """Raises where no query could be searched any more once an encoder's entries are moved."""
        others = []
        for known in self.encoders_in_use():
            if known not in (base, moved):
                others.append(known)
        declared = Declared([*self.compatibilities(), *to_come])
        if not can_be_searched(declared, [*others, moved]):
            raise none_for_moved(self.name, moved, bool(others))

    def restore(self) -> int:
        """Gives moved entries the vectors again that they had before; returns how many."""
        self.begin_moving()
        restored: dict[KnownEncoder, None] = {}  # in their order, each once
        for known in self.encoders_in_use():
            behind = self.encoders_behind(known)
            for each in behind or [known]:  # where nothing is behind, entries stay as they are
                restored[each] = None
        self.check_all_together(list(restored))
        return self._restore()

    def forget_originals(self) -> LetGo:
        """Lets go of the vectors that moved entries had before."""
        self.begin_moving()
        self.check_all_together(list(self.encoders_in_use()))
        return self._forget_originals()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @abstractmethod
    def refresh(self) -> None:
        """Sees what others have written since."""

    @abstractmethod
    def check(self) -> None:
        """Raises where what it holds is damaged, as far as that can be told."""

    @abstractmethod
    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        """Returns the encoders of the entries that are there now, with their numbers of entries."""

    def encoders_to_fit(self) -> Collection[KnownEncoder]:
        """Returns those in use, and those that another writer is just about to bring in."""
        return self.encoders_in_use()

    @abstractmethod
    def compatibilities(self) -> list[Compatibility]:
        """Returns what was declared of encoders."""

    def encoders_behind(self, encoder: KnownEncoder) -> Mapping[KnownEncoder, int]:
        """Returns the encoders of the vectors that this one's moved entries had before.

        It is empty where one of these entries has none.
        """
        return {}

    @abstractmethod
    def nearest(self, parts: list[Part], top: int) -> list[list[Match]]:
        """Searches the parts of the gallery; returns one list for each query."""

    @abstractmethod
    def begin_writing(self, encoder: KnownEncoder) -> None:
        """Begins to write entries of this encoder; makes a gallery where there is none.

        Sees what others wrote. What is checked from here on still holds when it is written.
        """

    @abstractmethod
    def _add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        """Adds entries that are checked; returns how many are new."""

    @abstractmethod
    def _replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        """Embeds entries anew that are checked; returns how many."""

    @abstractmethod
    def begin_moving(self) -> None:
        """Begins to write to a gallery that is there, and sees what others wrote."""

    @abstractmethod
    def _move(self, base: KnownEncoder, moved: KnownEncoder, transform: Transform) -> Iterator[int]:
        """Moves entries where that is checked; yields how many, as they are safe."""

    @abstractmethod
    def _restore(self) -> int:
        """Gives moved entries their vectors again; returns how many."""

    @abstractmethod
    def _forget_originals(self) -> LetGo:
        """Lets go of the vectors that moved entries had before."""

    @abstractmethod
    def remove(self, ids: Collection[str] = (), labels: Collection[str] = ()) -> Removal:
        """Forgets the entries with these ids, and those with these labels.

        It returns when no search can find them.
        """

    @abstractmethod
    def declare(self, compatibility: Compatibility) -> None:
        """Declares it, and returns when that is safe; declaring it again changes nothing."""

    @abstractmethod
    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        """Returns the ids and labels of every entry that this encoder has not made."""

    @abstractmethod
    def embedded(self, ids: list[str]) -> Iterator[Group]:
        """Yields what entries are embedded as, for each encoder that has made some of them."""

    @abstractmethod
    def describe(self) -> Description:
        """Reads and checks everything."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the gallery."""
