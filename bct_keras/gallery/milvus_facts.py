"""Keeps what a gallery in Milvus knows beside its entries: encoders, writers, which field is live.

Each fact is a row of its own in the collection NAME_encoders, so that two who write facts at once
do not write over each other's.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.milvus_client import Table, make_collection, one_of

FACT_BYTES = 8192
ANNOUNCED_SECONDS = 600.0
RENEWED_SECONDS = 60.0  # how old an announcement is when its writer renews it
STATE = "live:"
# Announcements of who adds to what is searched, and of who fills a field beside it.
WRITING, BESIDE = "writing", "beside"


@dataclass(frozen=True)
class State:
    """Which collections of a gallery are what."""

    live: str  # the one that is searched
    before: str = ""  # the one that was searched before the last cut-over
    next: str = ""  # the one to which it is being cut over now: what is added goes to both

    @property
    def written(self) -> set[str]:
        """Returns the collections to which what is added goes."""
        return {self.live, self.next} - {""}


class MilvusFacts:
    """The facts of one gallery, as one client of it sees them.

    Args:
        client: Of Milvus.
        gallery: The name of the gallery's first collection.
    """

    def __init__(self, client: Any, gallery: str):
        self.client = client
        self.gallery = gallery
        self.collection = f"{gallery}_encoders"
        self.writer = uuid.uuid4().hex[:12]  # tells this writer from others
        self._kept: set[str] = set()  # facts that never change once they are there
        self._read: dict[str, dict[str, Any]] | None = None  # all facts, within `read_once`
        self._announced: dict[str, float] = {}  # when, by the names of the facts

    def make(self, pymilvus: Any) -> None:
        """Makes the collection where it is not there."""
        # A collection has to have vectors; those of the facts mean nothing.
        table = Table(self.collection, {"id": 256, "fact": FACT_BYTES}, dims=2, metric="L2")
        make_collection(self.client, pymilvus, table)

    @contextlib.contextmanager
    def read_once(self) -> Iterator[None]:
        """Reads all facts together, the first time that any is asked for."""
        self._read = {}
        try:
            yield
        finally:
            self._read = None

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Returns the facts of a kind."""
        if self._read is None:
            return list(self._rows(f'id like "{kind}:%"').values())
        if not self._read:
            self._read = self._rows('id >= ""')
        return [fact for ident, fact in self._read.items() if ident.startswith(f"{kind}:")]

    def _rows(self, condition: str) -> dict[str, dict[str, Any]]:
        found = self.client.query(self.collection, filter=condition, output_fields=["id", "fact"])
        return {row["id"]: json.loads(row["fact"]) for row in found}

    def keep(self, ident: str, fact: dict[str, Any]) -> None:
        """Keeps a fact in place of what was known by this name."""
        row = {"id": ident, "fact": json.dumps(fact), "embedding": [0.0, 1.0]}
        self.client.upsert(self.collection, [row])

    def keep_once(self, ident: str, fact: dict[str, Any]) -> None:
        """Keeps a fact that does not change, unless this client has kept it before."""
        if ident not in self._kept:
            self.keep(ident, fact)
            self._kept.add(ident)

    def drop(self, idents: Collection[str]) -> None:
        """Drops facts by their names."""
        if idents:
            self.client.delete(self.collection, filter=one_of("id", idents))

    def state(self) -> State:
        """Returns which collection is live; that of the gallery's own name if nothing is said."""
        for fact in self.of("live"):
            return State(**fact)
        return State(self.gallery)

    def set_state(self, state: State) -> None:
        """Switches: one row tells every client which collection is live."""
        self.keep(STATE, asdict(state))

    def encoders(self) -> list[KnownEncoder]:
        """Returns the encoders that were ever known."""
        known = [KnownEncoder(**fact) for fact in self.of("encoder")]
        return sorted(known, key=lambda encoder: encoder.fingerprint)

    def compatibilities(self) -> list[Compatibility]:
        """Returns what was declared."""
        return [Compatibility(**fact) for fact in self.of("compatible")]

    def key_of(self, collection: str) -> str:
        """Returns a collection's short name within the gallery."""
        return collection.removeprefix(self.gallery)

    def keep_encoder(self, encoder: KnownEncoder) -> None:
        """Keeps what is known of an encoder."""
        self.keep_once(f"encoder:{encoder.fingerprint}", asdict(encoder))

    def note_encoder(self, collection: str, encoder: KnownEncoder) -> None:
        """Keeps that a collection has entries of an encoder, before the first is written."""
        noted = [encoder]
        if collection == self.gallery:
            noted += self.encoders_in(collection)  # where nothing was noted, of all that are known
        for each in noted:
            fact = {"collection": collection, "encoder": each.fingerprint}
            self.keep_once(f"in:{self.key_of(collection)}:{each.fingerprint}", fact)

    def encoders_in(self, collection: str) -> list[KnownEncoder]:
        """Returns the encoders that may have entries in a collection."""
        known = self.encoders()
        noted = [fact["encoder"] for fact in self.of("in") if fact["collection"] == collection]
        if not noted:  # as in a gallery that was made before this was noted
            return known
        return [encoder for encoder in known if encoder.fingerprint in noted]

    def only_of(self, state: State, encoder: KnownEncoder) -> bool:
        """Tells whether all that is searched, or to come, is of this encoder: nothing is counted.

        Milvus Lite goes through all entries to count them.
        """
        makers = {known.fingerprint for known in self.encoders_in(state.live)}
        makers |= {fact["fingerprint"] for fact in self.announced()}
        return not state.next and makers == {encoder.fingerprint}

    def note_field(self, collection: str, fingerprint: str) -> None:
        """Keeps whose field a collection is."""
        fact = {"collection": collection, "encoder": fingerprint}
        self.keep(f"field:{self.key_of(collection)}", fact)

    def fields(self) -> dict[str, str]:
        """Returns the collections of entries, with the fingerprints of their encoders."""
        return {fact["collection"]: fact["encoder"] for fact in self.of("field")}

    def forget_field(self, collection: str) -> None:
        """Drops what is known of a collection that is no more."""
        key = self.key_of(collection)
        self.drop([f"field:{key}", f"filling:{key}"])

    def announce(self, encoder: KnownEncoder, kind: str = WRITING) -> None:
        """Tells other writers that entries of an encoder are to come."""
        ident, now = f"{kind}:{encoder.fingerprint}:{self.writer}", time.time()
        if now - self._announced.get(ident, 0) < RENEWED_SECONDS:
            return
        self._announced[ident] = now
        fact = {"fingerprint": encoder.fingerprint, "since": now, "writer": self.writer}
        self.keep(ident, fact)

    def announced(self, kind: str = WRITING) -> list[dict[str, Any]]:
        """Returns the announcements that still hold, this writer's own among them."""
        now = time.time()
        return [fact for fact in self.of(kind) if now - fact["since"] < ANNOUNCED_SECONDS]

    def withdraw(self, encoder: KnownEncoder) -> None:
        """Takes back that this writer adds entries of an encoder."""
        ident = f"{WRITING}:{encoder.fingerprint}:{self.writer}"
        if ident in self._announced:
            self.drop([ident])
            del self._announced[ident]

    def withdraw_all(self) -> None:
        """Takes all announcements of this writer back."""
        self.drop(self._announced)
        self._announced.clear()

    def is_alone(self) -> bool:
        """Tells whether no other writer is announced."""
        both = self.announced() + self.announced(BESIDE)
        return all(fact.get("writer") == self.writer for fact in both)

    def claim(self, collection: str) -> None:
        """Says that this writer alone fills an empty collection."""
        key = self.key_of(collection)
        self.keep(f"filling:{key}", {"collection": collection, "writer": self.writer})

    def revoke(self, collection: str) -> None:
        """Ends the claim of whoever fills a collection alone."""
        self.drop([f"filling:{self.key_of(collection)}"])

    def filler(self, collection: str) -> str:
        """Returns the writer that claims to fill a collection alone; nothing where none does."""
        for fact in self.of("filling"):
            if fact["collection"] == collection:
                return fact["writer"]
        return ""
