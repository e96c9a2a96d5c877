"""Fills the field of a second encoder beside the one that is searched, and switches to it."""

from collections.abc import Collection, Iterator

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.entering import checked, moved_units
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.gallery import Gallery, Transform
from bct_keras.gallery.milvus_client import groups_of, one_of, rows_of
from bct_keras.gallery.milvus_facts import BESIDE, State
from bct_keras.gallery.milvus_field import AT_ONCE, EVERY, MilvusField, Row, missing
from bct_keras.gallery.milvus_store import MilvusStore, not_whole
from bct_keras.gallery.orders import Group

MOVED_AT_ONCE = 5000


class Beside:
    """An encoder's field, which no search sees before the cut-over; a backfill fills it.

    Entries are removed from it as from the field that is searched. What was written here is looked
    for there, and taken back where it has gone meanwhile.
    """

    def __init__(self, gallery: Gallery, store: MilvusStore, encoder: KnownEncoder):
        self.gallery, self.store, self.encoder = gallery, store, encoder
        self.name = gallery.name
        self.collection = store.collection_of(encoder.fingerprint)

    @property
    def live(self) -> MilvusField:
        return self.store.field(self.store.facts.state().live)

    @property
    def field(self) -> MilvusField:
        return self.store.field(self.collection)

    def refresh(self) -> None:
        """Raises where there is no gallery."""
        self.gallery.refresh()

    def begin_writing(self, encoder: KnownEncoder) -> None:
        """Makes the field where it is not there, and copies what this encoder has made already.

        Such entries were added meanwhile to the field that is searched.
        """
        store, facts = self.store, self.store.facts
        live = facts.state().live
        facts.note_field(live, store.own_encoder(live))
        facts.keep_encoder(encoder)
        # The facts first, so that a removal knows of the collection.
        facts.note_field(self.collection, encoder.fingerprint)
        facts.note_encoder(self.collection, encoder)
        store.make_field(self.collection, encoder.dims)
        facts.announce(encoder, BESIDE)
        self.copy_own()

    def copy_own(self) -> None:
        """Copies entries of this encoder that are searched and not here yet."""
        live = self.live
        own = one_of("encoder", [self.encoder.fingerprint])
        searched = list(live.entries(own))
        if not searched:
            return  # as nearly always, and the entries here need not be gone through
        made = [row["id"] for row in missing(iter(searched), self.field.entries(own))]
        for start in range(0, len(made), AT_ONCE):
            rows = live.rows(made[start : start + AT_ONCE], "embedding")
            self._write(rows, live)

    def check_may_replace(self, encoder: KnownEncoder) -> None:
        """Nothing is refused: no search sees these embeddings before the cut-over."""

    def missing(self) -> list[Row]:
        """Returns the entries that are searched and have no embedding of this encoder here."""
        own = one_of("encoder", [self.encoder.fingerprint])
        return list(missing(self.live.entries(EVERY), self.field.entries(own)))

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        """Returns the ids and labels of entries to embed."""
        ids = []
        labels = []
        for row in self.missing():
            if row["encoder"] != encoder:
                ids.append(row["id"])
                labels.append(row["label"])
        return ids, labels

    def fill_moved(self, base: KnownEncoder, transform: Transform) -> Iterator[int]:
        """Fills the field with what an adapter makes of the entries of `base`; yields how many."""
        self.begin_writing(self.encoder)
        rows = [row for row in self.missing() if row["encoder"] == base.fingerprint]
        for start in range(0, len(rows), MOVED_AT_ONCE):
            lot = rows[start : start + MOVED_AT_ONCE]
            ids = [row["id"] for row in lot]
            label_of = {row["id"]: row["label"] for row in lot}
            for group in self.embedded(ids):
                there = []
                labels = []
                for position in group.positions.tolist():
                    there.append(ids[position])
                    labels.append(label_of[ids[position]])
                units = moved_units(self.encoder, transform(group.embeddings))
                yield self.replace(self.encoder, there, labels, units)

    def embedded(self, ids: list[str]) -> Iterator[Group]:
        """Yields what entries are embedded as where they are searched."""
        return groups_of(self.live.rows(ids, "embedding"), ids)

    def replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray
    ) -> int:
        """Writes embeddings of entries that are still there; returns how many, when safe."""
        units = checked(encoder, ids, labels, embeddings)
        self.store.facts.announce(encoder, BESIDE)
        return self._write(rows_of(encoder.fingerprint, ids, labels, units), self.live)

    def _write(self, rows: list[Row], live: MilvusField) -> int:
        filling = self.store.filling(self.field)
        filling.begin()
        ids = [row["id"] for row in rows]
        if live.collection == self.collection:  # since a cut-over meanwhile
            there = live.there(ids)
            rows = [row for row in rows if row["id"] in there]
        filling.write(rows)
        return len(rows) - take_back(self.field, ids, gone_from=live)


def take_back(field: MilvusField, ids: Collection[str], gone_from: MilvusField) -> int:
    """Deletes from a field what was removed from another meanwhile; returns how many."""
    if field.collection == gone_from.collection:
        return 0
    gone = set(ids) - gone_from.there(ids)
    field.delete(gone)
    return len(gone)


def cut_over(
    gallery: Gallery, store: MilvusStore, target: MilvusField, way_back: bool = False
) -> int:
    """Makes another field the one that is searched; returns how many go on as they are.

    The order is what keeps every entry: 1 it is said that what is added goes to both fields, 2
    entries that the new one has not are copied to it as they are, 3 one row switches. Who adds
    looks before and after it writes which fields there are, so that it sees 1 or is seen by 2.

    Args:
        gallery: Whose field is switched.
        store: Its collections.
        target: The field that is to be searched.
        way_back: Whether it was searched before, so that there is no way back from it.
    """
    facts = store.facts
    state = facts.state()
    live = store.field(state.live)
    target.settle()
    during = State(state.live, state.before, next=target.collection)
    facts.set_state(during)
    try:
        carried = carry(gallery, store, live, target)
    except BaseException:
        if facts.state() == during:
            facts.set_state(State(state.live, state.before))
        raise
    if facts.state() != during:
        raise InputError(f"{store.name}: another command has switched it meanwhile; try again")
    facts.set_state(State(target.collection, before="" if way_back else live.collection))
    return carried


def carry(gallery: Gallery, store: MilvusStore, live: MilvusField, target: MilvusField) -> int:
    """Copies entries that a field lacks; raises where no query could be searched among all."""
    facts = store.facts
    facts.revoke(target.collection)
    lacking = list(missing(live.entries(EVERY), target.entries(EVERY)))
    known = {encoder.fingerprint: encoder for encoder in facts.encoders()}
    main = store.encoder_of(target)
    if lacking and live.dims != target.dims:
        raise not_whole(store, len(lacking), main)
    makers = {known[row["encoder"]] for row in lacking}
    coming = {known[fact["fingerprint"]] for fact in facts.announced()}
    gallery.check_together(main, {*store.encoders_of(target), *makers, *coming})
    for maker in makers:
        facts.note_encoder(target.collection, maker)
    for start in range(0, len(lacking), AT_ONCE):
        ids = [row["id"] for row in lacking[start : start + AT_ONCE]]
        target.upsert(live.rows(ids, "embedding"))
        take_back(target, ids, gone_from=live)
    return len(lacking)
