"""Holds the collections of one gallery in Milvus, and fills them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bct_keras.errors import InputError, option
from bct_keras.gallery.facts import LONGEST_NAME, KnownEncoder
from bct_keras.gallery.milvus_client import Table, make_collection, one_of
from bct_keras.gallery.milvus_facts import MilvusFacts, State
from bct_keras.gallery.milvus_field import MilvusField, Row

LOOKS = 5  # how often a removal looks whether a backfill that ran meanwhile brought an entry back


@dataclass
class MilvusStore:
    """What a client needs for one gallery."""

    name: str  # for people
    client: Any
    pymilvus: Any
    facts: MilvusFacts

    def __post_init__(self):
        self._fields: dict[str, MilvusField] = {}
        self._fillings: dict[str, Filling] = {}

    def make_field(self, collection: str, dims: int) -> MilvusField:
        """Makes a collection of entries where it is not there."""
        longest = {"id": LONGEST_NAME, "label": LONGEST_NAME, "encoder": 64}
        make_collection(
            self.client, self.pymilvus, Table(collection, longest, dims, metric="COSINE")
        )
        return self.field(collection)

    def field(self, collection: str) -> MilvusField:
        """Returns a collection that is there, loaded."""
        if collection not in self._fields:
            self._fields[collection] = MilvusField(self.client, collection)
        return self._fields[collection]

    def fields(self, state: State) -> list[MilvusField]:
        """Returns all collections of entries, that which is searched at the end."""
        names = {*self.facts.fields(), state.before, state.next} - {"", state.live}
        there = [name for name in sorted(names) if self.client.has_collection(name)]
        return [self.field(name) for name in (*there, state.live)]

    def encoders_of(self, field: MilvusField) -> dict[KnownEncoder, int]:
        """Returns the encoders that have made entries of a collection, with their numbers."""
        possible = self.facts.encoders_in(field.collection)
        # Milvus Lite reads every entry that it counts by a condition, so that those of the encoder
        # that has made most are what is left of all.
        if len(possible) > 1:
            own = self.facts.fields().get(field.collection)
            possible.sort(key=lambda known: (known.fingerprint != own, known.fingerprint))
        counts: dict[KnownEncoder, int] = {}
        rest = field.count()
        for known in possible[1:]:
            counts[known] = field.count(one_of("encoder", [known.fingerprint]))
            rest -= counts[known]
        for known in possible[:1]:
            counts[known] = rest
        return {known: counts[known] for known in possible if counts[known] > 0}

    def beside(self, state: State, fingerprint: str) -> MilvusField:
        """Returns the field that a cut-over means, of an encoder or the only one beside."""
        names = {known.fingerprint: str(known) for known in self.facts.encoders()}
        found: dict[str, MilvusField] = {}
        for field in self.fields(state)[:-1]:
            own = self.own_encoder(field.collection)
            is_meant = own == fingerprint if fingerprint else field.collection != state.before
            if is_meant and field.count():
                found[names[own]] = field
        if not found:
            of = names.get(fingerprint, fingerprint[:12]) if fingerprint else "another encoder"
            raise InputError(
                f"{self.name} holds no embeddings of {of} beside those that are searched: gallery "
                "backfill makes them"
            )
        if len(found) > 1:
            raise InputError(
                f"{self.name} holds embeddings beside those that are searched of "
                f"{' and '.join(found)}: {option('encoder', 'PATH')} says which to take"
            )
        return next(iter(found.values()))

    def own_encoder(self, collection: str) -> str:
        """Returns the fingerprint of the encoder whose field a collection is."""
        noted = self.facts.fields().get(collection)
        if noted:
            return noted
        # As in a gallery that was made before this was noted.
        counts = self.encoders_of(self.field(collection))
        most = max(counts, key=lambda known: counts[known], default=None)
        return most.fingerprint if most else ""

    def encoder_of(self, field: MilvusField) -> KnownEncoder:
        """Returns the encoder whose field a collection is."""
        own = self.own_encoder(field.collection)
        return next(known for known in self.facts.encoders() if known.fingerprint == own)

    def collection_of(self, fingerprint: str) -> str:
        """Returns the collection that is an encoder's field, or that would be."""
        for collection, own in self.facts.fields().items():
            if own == fingerprint:
                return collection
        return f"{self.facts.gallery}_{fingerprint[:12]}"

    def drop(self, collection: str) -> None:
        """Drops a collection and what is known of it."""
        self.client.drop_collection(collection)
        self.facts.forget_field(collection)
        self._fields.pop(collection, None)
        self._fillings.pop(collection, None)

    def filling(self, field: MilvusField) -> "Filling":
        """Returns what fills a collection for this client."""
        if field.collection not in self._fillings:
            self._fillings[field.collection] = Filling(self.facts, field)
        return self._fillings[field.collection]

    def end_filling(self) -> None:
        """Lets other writers fill alone what this one has begun to."""
        for filling in self._fillings.values():
            filling.end()


class Filling:
    """Writes new entries to a collection: by inserts while it fills an empty one alone, else not.

    An insert costs Milvus less than an upsert and does not look whether the id is there. Whoever
    inserts has claimed the collection (1), found it empty and no other writer announced (2), and
    looks after each lot whether the claim still stands (3). Another writer announces itself, then
    ends the claim, then looks which ids are there. So either that one sees the ids of a lot, or
    this one sees at (2) or (3) that it is not alone, and upserts the lot, which leaves each id
    once.
    """

    def __init__(self, facts: MilvusFacts, field: MilvusField):
        self.facts, self.field = facts, field
        self.is_alone: bool | None = None  # None: not asked yet

    def begin(self) -> None:
        """Begins a lot, before it is looked which of its ids are there."""
        collection = self.field.collection
        if self.is_alone is None:
            self.is_alone = self.field.count() == 0 and self._claim()
        if not self.is_alone and self.facts.filler(collection):
            self.facts.revoke(collection)

    def _claim(self) -> bool:
        self.facts.claim(self.field.collection)
        if not self.facts.is_alone() or self.field.count():
            return False
        return self._stands()

    def _stands(self) -> bool:
        return self.facts.filler(self.field.collection) == self.facts.writer

    def write(self, rows: list[Row]) -> None:
        """Writes the entries of a lot."""
        if not rows:
            return
        if not self.is_alone:
            self.field.upsert(rows)
            return
        self.field.insert(rows)
        if not self._stands():
            self.is_alone = False
            self.field.upsert(rows)

    def end(self) -> None:
        """Ends this writer's claim."""
        if self.is_alone:
            self.facts.revoke(self.field.collection)
        self.is_alone = None


def not_whole(store: MilvusStore, count: int, target: KnownEncoder) -> InputError:
    """Returns the error of entries that a cut-over cannot take along."""
    return InputError(
        f"{store.name}: {count:,} entries are not embedded by {target} and have other dimensions "
        "than its embeddings;",
        "run gallery backfill with it again, or gallery remove for what has no image",
    )


def remove_entries(
    store: MilvusStore, ids: Collection[str], labels: Collection[str]
) -> dict[str, str]:
    """Deletes entries from all collections; returns the labels of those that were there, by id."""
    removed: dict[str, str] = {}
    for _ in range(LOOKS):
        found: dict[str, str] = {}
        for field in store.fields(store.facts.state()):
            rows = field.rows(ids) + field.labelled(labels)
            here = {row["id"]: row["label"] for row in rows}
            field.delete(here)
            found |= here
        if not found:
            return removed
        removed |= found
    raise InputError(
        f"{store.name}: another command writes entries anew as they are removed; end it first"
    )
