"""What every gallery does, whatever keeps its entries."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from bct_keras.errors import InputError, option
from bct_keras.gallery import vectors


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder that has made entries; its fingerprint is what they know it by."""

    fingerprint: str
    dims: int
    name: str  # where it lay, for people

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint[:12]})"


@dataclass(frozen=True)
class Compatibility:
    """Queries of one encoder may be searched among entries of another, as `evaluate` found."""

    query: str  # fingerprints
    gallery: str
    report: str  # fingerprint of the report that says so
    finding: str


@dataclass(frozen=True)
class Removal:
    """What was asked to be forgotten, and what became of it."""

    entries: int  # how many were removed
    unknown_ids: list[str]  # asked for and not there
    unknown_labels: list[str]
    erased: str  # what is known of their bytes, for people


LONGEST_NAME = 1024  # bytes of an id or a label


@dataclass(frozen=True)
class Match:
    """An entry that a query finds."""

    id: str
    label: str
    score: float  # cosine
    encoder: str  # fingerprint of the encoder that made this entry


@dataclass(frozen=True)
class Description:
    """What a gallery holds."""

    dims: int
    entries: dict[KnownEncoder, int]
    compatible: list[Compatibility]
    remarks: list[str]


def first_positions(ids: list[str]) -> dict[str, int]:
    """Returns where each id comes first."""
    found: dict[str, int] = {}
    for position, ident in enumerate(ids):
        found.setdefault(ident, position)
    return found


def check_name(name: str) -> None:
    """Raises where a text can be no id and no label."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:  # as Python reads a file's name that is no UTF-8
        raise InputError(f"{name!r} is no text in UTF-8, which ids and labels have to be") from None
    if len(encoded) > LONGEST_NAME:
        raise InputError(
            f"'{name[:60]}...' is too long: ids and labels have at most {LONGEST_NAME} bytes"
        )


class Gallery(ABC):
    """Entries, each of an id, a label and an embedding of length 1.

    Each id is there once, and each entry knows the encoder that made it.
    """

    name: str

    def search(self, encoder: str, embeddings: np.ndarray, top: int) -> list[list[Match]]:
        """Returns a list of matches for each query, the best first.

        Args:
            encoder: The fingerprint of the encoder that made the queries.
            embeddings: The queries [queries, dims], of any length.
            top: How many matches to find for each.
        """
        if top < 1:
            raise InputError(f"{top} matches were asked for; at least one has to be")
        self.refresh()
        queries = vectors.unit(embeddings)
        in_use = self.encoders_in_use()
        for known in in_use:
            if known.dims != queries.shape[1]:
                raise InputError(
                    f"{self.name} holds {known.dims} dimensions and the query has "
                    f"{queries.shape[1]}; they cannot be compared"
                )
        self.check_admitted(encoder, in_use)
        return self.nearest(queries, top, [known.fingerprint for known in in_use])

    def check_admitted(self, encoder: str, in_use: Iterable[KnownEncoder]) -> None:
        """Raises unless queries of this encoder are known to fit every entry."""
        declared = {(each.query, each.gallery) for each in self.compatibilities()}
        for known in in_use:
            if known.fingerprint == encoder or (encoder, known.fingerprint) in declared:
                continue
            old, new = option("old", "the entries'"), option("new", "the one given")
            raise InputError(
                f"{self.name} holds entries of {known}, and the encoder given ({encoder[:12]}) is "
                "not known to be compatible with it (a file exported from a run is another "
                "encoder than the run);",
                f"evaluate the two ({old} {new}) and declare the report: "
                f"gallery add {option('report', 'FOLDER')}",
            )

    def check_may_join(self, encoder: KnownEncoder, to_come: Iterable[Compatibility] = ()) -> None:
        """Raises where with this encoder's entries no query at all could be searched any more."""
        declared = {(each.query, each.gallery) for each in (*self.compatibilities(), *to_come)}
        there = {known.fingerprint: known for known in self.encoders_to_fit()}
        together = {*there, encoder.fingerprint}
        queries = together | {query for query, _ in declared}
        for query in queries:
            if all(query == other or (query, other) in declared for other in together):
                return
        foreign = []
        for known in there.values():
            if known.fingerprint != encoder.fingerprint:
                foreign.append(str(known))
        raise InputError(
            f"{self.name} holds entries of {', '.join(foreign)}, and no report says that "
            f"{encoder} goes with them: together no query could be searched;",
            "evaluate the two and declare the report first: gallery add "
            f"{option('report', 'FOLDER')}",
        )

    def add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> int:
        """Adds entries; returns how many are new, when they are safe.

        An id that is there already stays as it is.
        """
        units = self.checked(encoder, ids, labels, embeddings)
        self.begin_writing(encoder)
        self.check_may_join(encoder)
        return self._add(encoder, ids, labels, units)

    def replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> int:
        """Embeds the same entries anew; returns how many, when they are safe.

        None that was removed comes back.
        """
        units = self.checked(encoder, ids, labels, embeddings)
        self.refresh()
        self.begin_writing(encoder)
        self.check_admitted(encoder.fingerprint, self.encoders_to_fit())
        if len(set(ids)) < len(ids):
            raise InputError(f"{self.name}: an id given twice cannot be embedded anew")
        return self._replace(encoder, ids, labels, units)

    def checked(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> np.ndarray:
        """Returns the embeddings at length 1."""
        units = vectors.unit(embeddings)
        if not len(ids) == len(labels) == len(units):
            raise InputError(
                f"{len(ids)} ids, {len(labels)} labels and {len(units)} embeddings; each entry has "
                "one"
            )
        if units.shape[1] != encoder.dims:
            raise InputError(
                f"{encoder} gives {encoder.dims} dimensions; these embeddings have {units.shape[1]}"
            )
        for name in (*ids, *labels):
            check_name(name)
        return units

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @abstractmethod
    def refresh(self) -> None:
        """Sees what others have written since."""

    @abstractmethod
    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        """Returns the encoders of the entries that are there now, with their numbers of entries."""

    def encoders_to_fit(self) -> Collection[KnownEncoder]:
        """Returns those in use, and those that another writer is just about to bring in."""
        return self.encoders_in_use()

    @abstractmethod
    def compatibilities(self) -> list[Compatibility]:
        """Returns what was declared of encoders."""

    @abstractmethod
    def nearest(self, queries: np.ndarray, top: int, encoders: list[str]) -> list[list[Match]]:
        """Searches queries [queries, dims] of length 1 among the entries of these encoders."""

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
    def describe(self) -> Description:
        """Reads and checks everything."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the gallery."""
