"""A gallery in Milvus (milvus.io): a cluster by its address, or Milvus Lite in a folder.

The entries lie in a collection with one field of vectors. Another encoder's field is a collection
of its own, NAME_FINGERPRINT, which a backfill fills beside the one that is searched. Which one that
is stands in one row of NAME_encoders, so that a cut-over and the way back are a switch each. It is
no second vector field of the same collection: Milvus Lite can add none, a cluster only from late in
2.6 on, and filling it would write every old vector anew. Nor is the switch an alias: a gallery that
was made without one has a collection of that name. Each collection is whole by itself, so that one
of them answers a search, asked for the encoders that the query fits.

Milvus has no lock. In its place a writer announces its encoder in NAME_encoders before it checks
whether this goes with the others, those announced among them: of two writers that begin at once, at
least one sees the other. An announcement is renewed each minute and holds for ten, so that a writer
that was killed does not shut others out for ever. Lots are the unit of safety: an add, a backfill
or a removal that is stopped has done some of them, and does the others when it is run again.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.facts import (
    Compatibility,
    CutOver,
    Description,
    KnownEncoder,
    LetGo,
    Match,
    Removal,
    check_name,
    first_positions,
)
from bct_keras.gallery.gallery import Gallery, Transform
from bct_keras.gallery.milvus_beside import Beside, cut_over
from bct_keras.gallery.milvus_client import Plainly, groups_of, one_of, plainly, rows_of
from bct_keras.gallery.milvus_facts import MilvusFacts, State
from bct_keras.gallery.milvus_field import MilvusField, Row
from bct_keras.gallery.milvus_store import MilvusStore, remove_entries
from bct_keras.gallery.orders import Group
from bct_keras.gallery.refilled import Refilled
from bct_keras.gallery.spaces import Part, Query, merged


class MilvusGallery(Gallery):
    """A gallery in Milvus; a cluster's token is read from MILVUS_TOKEN."""

    def __init__(self, uri: str, collection: str = "gallery"):
        try:
            import pymilvus
            from pymilvus.exceptions import MilvusException
        except ImportError:
            raise InputError(
                "a gallery in Milvus needs pymilvus: pip install -e '.[milvus]'"
            ) from None
        self.name = f"{uri} ({collection})"
        self.collection = collection
        with plainly(uri, MilvusException):
            client = pymilvus.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
        self.client: Any = Plainly(uri, client, MilvusException)
        self.facts = MilvusFacts(self.client, collection)
        self.store = MilvusStore(self.name, self.client, pymilvus, self.facts)
        self.state = State(collection)
        self._loaded = False

    @property
    def live(self) -> MilvusField:
        return self.store.field(self.state.live)

    def refresh(self) -> None:
        if not self._loaded:
            is_there = self.client.has_collection(self.facts.collection)
            if is_there:
                self.client.load_collection(self.facts.collection)
                is_there = self.client.has_collection(self.facts.state().live)
            if not is_there:
                raise InputError(f"{self.name}: no such gallery; gallery add makes one")
            self._loaded = True
        self.state = self.facts.state()

    def _make(self, encoder: KnownEncoder) -> None:
        """Makes a gallery where there is none."""
        # The facts first, so that where there is a gallery they can be read.
        self.facts.make(self.store.pymilvus)
        self.client.load_collection(self.facts.collection)
        live = self.facts.state().live
        if not self.client.has_collection(live):
            self.store.make_field(live, encoder.dims)
            self.facts.note_field(live, encoder.fingerprint)

    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        return self.store.encoders_of(self.live) if self._loaded else {}

    def encoders_to_fit(self) -> list[KnownEncoder]:
        if not self._loaded:  # no gallery yet
            return []
        wanted = {known.fingerprint for known in self.encoders_in_use()}
        if self.state.next:
            next_field = self.store.field(self.state.next)
            wanted |= {known.fingerprint for known in self.store.encoders_of(next_field)}
        wanted |= {fact["fingerprint"] for fact in self.facts.announced()}
        return [known for known in self.facts.encoders() if known.fingerprint in wanted]

    def encoders_behind(self, encoder: KnownEncoder) -> dict[KnownEncoder, int]:
        """Returns the encoders of the field from before, while that has every entry.

        Its entries are all here, and a removal begins there, so that their numbers tell.
        """
        if not self.state.before or not self.client.has_collection(self.state.before):
            return {}
        before = self.store.field(self.state.before)
        if before.count() != self.live.count():
            return {}
        return self.store.encoders_of(before)

    def compatibilities(self) -> list[Compatibility]:
        return self.facts.compatibilities() if self._loaded else []

    def nearest(self, parts: list[Part], top: int) -> list[list[Match]]:
        # One field answers the whole search.
        field = self.live
        if any(part.from_before for part in parts):
            field = self.store.field(self.state.before)
        found = []
        for part in parts:
            found.append(field.hits(part, top))
        lists = []
        for hits_of_query in zip(*found, strict=True):
            lists.append(merged(parts, hits_of_query)[:top])
        return lists

    def find(self, query: Query, top: int) -> list[list[Match]]:
        with self.facts.read_once():  # each read waits for what others have written
            return super().find(query, top)

    def check(self) -> None:
        self.refresh()  # Milvus checks what it keeps itself

    def begin_writing(self, encoder: KnownEncoder) -> None:
        if not self._loaded:
            self._make(encoder)
        self.refresh()
        for collection in self.state.written:
            self._check_dims(self.store.field(collection), encoder)
        self.facts.keep_encoder(encoder)
        self.facts.announce(encoder)

    def _check_dims(self, field: MilvusField, encoder: KnownEncoder) -> None:
        if field.dims != encoder.dims:
            raise InputError(
                f"{self.name} holds {field.dims} dimensions and {encoder} gives {encoder.dims}"
            )

    def check_may_join(self, encoder: KnownEncoder, to_come: Iterable[Compatibility] = ()) -> None:
        if self._loaded and self.facts.only_of(self.state, encoder):
            return
        try:
            super().check_may_join(encoder, to_come)
        except InputError:
            self.facts.withdraw(encoder)
            raise

    def _add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        new = list(first_positions(ids).values())
        names = [ids[each] for each in new]
        labels_of_new = [labels[each] for each in new]
        rows = rows_of(encoder.fingerprint, names, labels_of_new, units[new])
        rows = self._add_to(self.live, encoder, rows)
        written = {self.state.live}
        # A cut-over that began meanwhile may not have seen them.
        while others := self.facts.state().written - written:
            for collection in others:
                field = self.store.field(collection)
                self._check_dims(field, encoder)
                self._add_to(field, encoder, rows)
            written |= others
        return len(rows)

    def _add_to(self, field: MilvusField, encoder: KnownEncoder, rows: list[Row]) -> list[Row]:
        """Writes those rows whose ids a field has not; returns them."""
        filling = self.store.filling(field)
        filling.begin()
        there = field.there([row["id"] for row in rows])
        new = [row for row in rows if row["id"] not in there]
        self.facts.note_encoder(field.collection, encoder)
        filling.write(new)
        return new

    def _replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        self.store.filling(self.live).begin()
        there = self.live.there(ids)
        self.facts.note_encoder(self.state.live, encoder)
        rows = rows_of(encoder.fingerprint, ids, labels, units)
        known = [row for row in rows if row["id"] in there]
        self.live.upsert(known)
        return len(known)

    def to_backfill(self, encoder: KnownEncoder) -> Refilled:
        self.refresh()
        if self.store.own_encoder(self.state.live) == encoder.fingerprint:
            return self
        return Beside(self, self.store, encoder)

    def cut_over(self, fingerprint: str = "") -> CutOver:
        self.refresh()
        self.facts.withdraw_all()
        target = self.store.beside(self.state, fingerprint)
        carried = cut_over(self, self.store, target)
        self.refresh()
        return CutOver(self.store.encoder_of(target), target.count(), carried)

    def begin_moving(self) -> None:
        self.refresh()

    def _move(self, base: KnownEncoder, moved: KnownEncoder, transform: Transform) -> Iterator[int]:
        beside = self.to_backfill(moved)
        if not isinstance(beside, Beside):  # it is moved already
            return
        yield from beside.fill_moved(base, transform)
        self.facts.withdraw_all()
        cut_over(self, self.store, beside.field)
        self.refresh()

    def _restore(self) -> int:
        if self.state.next:  # a cut-over was stopped
            self.facts.set_state(State(self.state.live, self.state.before))
        if not self.state.before:
            return 0
        self.facts.withdraw_all()
        target = self.store.field(self.state.before)
        cut_over(self, self.store, target, way_back=True)
        self.refresh()
        return target.count()

    def _forget_originals(self) -> LetGo:
        before = self.state.before
        if not before:
            return LetGo(0, "there were none")
        entries = self.store.field(before).count()
        # The row first, so that nobody looks for what is not there.
        self.facts.set_state(State(self.state.live))
        self.store.drop(before)
        self.refresh()
        return LetGo(entries, f"their collection {before} is dropped")

    def remove(self, ids: Collection[str] = (), labels: Collection[str] = ()) -> Removal:
        self.refresh()
        for name in (*ids, *labels):
            check_name(name)
        removed = remove_entries(self.store, ids, labels)
        if removed:
            for field in self.store.fields(self.state):
                field.erase()
        return Removal(
            entries=len(removed),
            unknown_ids=[ident for ident in ids if ident not in removed],
            unknown_labels=[label for label in labels if label not in removed.values()],
            erased="Milvus was asked to erase their bytes (flush, compact), which it does in its "
            "own time",
        )

    def declare(self, compatibility: Compatibility) -> None:
        self.refresh()
        ident = f"compatible:{compatibility.query}:{compatibility.gallery}"
        self.facts.keep(ident, asdict(compatibility))

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        self.refresh()
        rows = list(self.live.entries(f"not ({one_of('encoder', [encoder])})"))
        return [row["id"] for row in rows], [row["label"] for row in rows]

    def embedded(self, ids: list[str]) -> Iterator[Group]:
        return groups_of(self.live.rows(ids, "embedding"), ids)

    def describe(self) -> Description:
        self.refresh()
        remarks = ["kept by Milvus"]
        for field in self.store.fields(self.state)[:-1]:
            own = self.store.encoder_of(field)
            when = "from before" if field.collection == self.state.before else "beside"
            remarks.append(f"{field.count():,} embeddings of {own} {when}")
        return Description(self.encoders_in_use(), self.compatibilities(), remarks)

    def close(self) -> None:
        try:
            if self._loaded:
                self.store.end_filling()
                self.facts.withdraw_all()
        finally:
            self.client.close()
