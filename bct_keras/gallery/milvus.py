"""A gallery in Milvus (milvus.io): a cluster by its address, or Milvus Lite in a folder.

The encoders and what was declared of them are kept in a second collection, NAME_encoders. Milvus
holds each id once: an entry that is embedded anew is upserted under its id.

Milvus has no lock. In its place a writer announces its encoder in NAME_encoders before it checks
whether this goes with the others, those announced among them: of two writers that begin at once, at
least one sees the other. An announcement is renewed with each lot and holds for ten minutes, so
that a writer that was killed does not shut others out for ever. Lots are the unit of safety: an
add, a backfill or a removal that is stopped has done some of them, and does the others when it is
run again.
"""

import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.facts import (
    LONGEST_NAME,
    Compatibility,
    Description,
    KnownEncoder,
    Match,
    Removal,
    check_name,
    first_positions,
)
from bct_keras.gallery.milvus_client import (
    Plainly,
    Table,
    entries_of,
    groups_of,
    literal,
    make_collection,
    match_of,
    one_of,
    plainly,
    rows_of,
)
from bct_keras.gallery.orders import Group
from bct_keras.gallery.spaces import Part, merged
from bct_keras.gallery.unmoved import UnmovedGallery

AT_ONCE = 1000
FACT_BYTES = 8192
ANNOUNCED_SECONDS = 600.0
LOOKS = 5  # how often a removal looks whether a backfill that ran meanwhile brought an entry back


class MilvusGallery(UnmovedGallery):
    """A gallery in one collection; a cluster's token is read from MILVUS_TOKEN."""

    def __init__(self, uri: str, collection: str = "gallery"):
        try:
            import pymilvus
            from pymilvus.exceptions import MilvusException
        except ImportError:
            raise InputError(
                "a gallery in Milvus needs pymilvus: pip install -e '.[milvus]'"
            ) from None
        self.pymilvus, self.name = pymilvus, f"{uri} ({collection})"
        self.collection, self.facts = collection, f"{collection}_encoders"
        # It logs as a traceback what is told in a line here.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        with plainly(uri, MilvusException):
            client = pymilvus.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
        self.client: Any = Plainly(uri, client, MilvusException)
        self._loaded = False
        self._writes: set[str] = set()  # fingerprints of the encoders that this one has announced

    def refresh(self) -> None:
        if not self._loaded:
            if not self.client.has_collection(self.collection):
                raise InputError(f"{self.name}: no such gallery; gallery add makes one")
            self._load()

    def _load(self) -> None:
        for name in (self.collection, self.facts):
            self.client.load_collection(name)
        self._loaded = True

    def _make(self, dims: int) -> None:
        # A collection has to have vectors; those of the facts mean nothing.
        facts = Table(self.facts, {"id": 256, "fact": FACT_BYTES}, dims=2, metric="L2")
        longest = {"id": LONGEST_NAME, "label": LONGEST_NAME, "encoder": 64}
        entries = Table(self.collection, longest, dims, metric="COSINE")
        # The facts first, so that where there is a gallery they can be read.
        for table in (facts, entries):
            make_collection(self.client, self.pymilvus, table)
        self._load()

    def _facts(self, kind: str) -> list[dict[str, Any]]:
        if not self._loaded:  # no gallery yet
            return []
        found = self.client.query(self.facts, filter=f'id like "{kind}:%"', output_fields=["fact"])
        return [json.loads(row["fact"]) for row in found]

    def _keep_fact(self, ident: str, fact: dict[str, Any]) -> None:
        row = {"id": ident, "fact": json.dumps(fact), "embedding": [0.0, 1.0]}
        self.client.upsert(self.facts, [row])

    def _encoders(self) -> list[KnownEncoder]:
        known = [KnownEncoder(**fact) for fact in self._facts("encoder")]
        return sorted(known, key=lambda encoder: encoder.fingerprint)

    def _count(self, condition: str) -> int:
        count = "count(*)"
        found = self.client.query(self.collection, filter=condition, output_fields=[count])
        return int(found[0][count])

    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        if not self._loaded:  # no gallery yet
            return {}
        counts = {}
        for known in self._encoders():
            count = self._count(one_of("encoder", [known.fingerprint]))
            if count:
                counts[known] = count
        return counts

    def encoders_to_fit(self) -> list[KnownEncoder]:
        wanted = {known.fingerprint for known in self.encoders_in_use()}
        for fact in self._facts("writing"):
            if time.time() - fact["since"] < ANNOUNCED_SECONDS:
                wanted.add(fact["fingerprint"])
        return [known for known in self._encoders() if known.fingerprint in wanted]

    def compatibilities(self) -> list[Compatibility]:
        return [Compatibility(**fact) for fact in self._facts("compatible")]

    def nearest(self, parts: list[Part], top: int) -> list[list[Match]]:
        found = [self._hits(part, top) for part in parts]
        return [merged(parts, hits)[:top] for hits in zip(*found, strict=True)]

    def _hits(self, part: Part, top: int) -> list[list[Match]]:
        """Returns for each query the entries of one part that are most like it."""
        found = self.client.search(
            self.collection,
            data=part.queries.tolist(),
            limit=top,
            filter=entries_of(part),
            output_fields=["label", "encoder"],
        )
        return [[match_of(hit) for hit in hits] for hits in found]

    def check(self) -> None:
        self.refresh()  # Milvus checks what it keeps itself

    def begin_writing(self, encoder: KnownEncoder) -> None:
        if not self._loaded:
            self._make(encoder.dims)
        fields = self.client.describe_collection(self.collection)["fields"]
        dims = next(field["params"]["dim"] for field in fields if field["name"] == "embedding")
        if int(dims) != encoder.dims:
            raise InputError(
                f"{self.name} holds {dims} dimensions and {encoder} gives {encoder.dims}"
            )
        if encoder.fingerprint not in self._writes:
            self._keep_fact(f"encoder:{encoder.fingerprint}", asdict(encoder))
        self._writes.add(encoder.fingerprint)
        announced = {"fingerprint": encoder.fingerprint, "since": time.time()}
        self._keep_fact(f"writing:{encoder.fingerprint}", announced)

    def check_may_join(self, encoder: KnownEncoder, to_come: Iterable[Compatibility] = ()) -> None:
        try:
            super().check_may_join(encoder, to_come)
        except InputError:
            self._withdraw([encoder.fingerprint])
            raise

    def _withdraw(self, fingerprints: Collection[str]) -> None:
        """Takes announcements of writing back."""
        announced = [f"writing:{each}" for each in fingerprints if each in self._writes]
        if announced:
            self.client.delete(self.facts, filter=one_of("id", announced))
        self._writes.difference_update(fingerprints)

    def _add(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        first_of = first_positions(ids)
        for ident in self._there(ids):
            first_of.pop(ident, None)
        new = list(first_of.values())
        self._upsert(
            encoder, [ids[each] for each in new], [labels[each] for each in new], units[new]
        )
        return len(new)

    def _replace(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> int:
        known = self._there(ids)
        there = [position for position, ident in enumerate(ids) if ident in known]
        self._upsert(
            encoder, [ids[each] for each in there], [labels[each] for each in there], units[there]
        )
        return len(there)

    def _there(self, ids: Collection[str]) -> set[str]:
        return {row["id"] for row in self._rows("id", ids)}

    def _rows(self, field: str, texts: Collection[str], *more: str) -> list[dict[str, Any]]:
        """Returns the entries in which this field is one of these texts, as `_pages` does."""
        wanted, rows = list(dict.fromkeys(texts)), []
        for start in range(0, len(wanted), AT_ONCE):
            rows += self._pages(one_of(field, wanted[start : start + AT_ONCE]), *more)
        return rows

    def _pages(self, condition: str, *more: str) -> list[dict[str, Any]]:
        """Returns id, label, encoder, and more fields, of all entries that meet a condition."""
        # Not client.query_iterator, whose own condition on the last id of a page fails where that
        # holds a quote.
        rows: list[dict[str, Any]] = []
        after = ""
        while page := self.client.query(
            self.collection,
            filter=f"{after}({condition})",
            output_fields=["id", "label", "encoder", *more],
            limit=AT_ONCE,
            iterator="True",  # sorted by id
            reduce_stop_for_best="True",
        ):
            rows += page
            after = f"id > {literal(page[-1]['id'])} and "
        return rows

    def remove(self, ids: Collection[str] = (), labels: Collection[str] = ()) -> Removal:
        self.refresh()
        for name in (*ids, *labels):
            check_name(name)
        removed: dict[str, str] = {}
        for _ in range(LOOKS):
            found = {
                row["id"]: row["label"]
                for row in self._rows("id", ids) + self._rows("label", labels)
            }
            if not found:
                break
            removed |= found
            going = list(found)
            for start in range(0, len(going), AT_ONCE):
                self.client.delete(
                    self.collection, filter=one_of("id", going[start : start + AT_ONCE])
                )
        else:
            raise InputError(
                f"{self.name}: another command writes entries anew as they are removed; end it "
                "first"
            )
        if removed:
            self.client.flush(self.collection)
            self.client.compact(self.collection)
        return Removal(
            entries=len(removed),
            unknown_ids=[ident for ident in ids if ident not in removed],
            unknown_labels=[label for label in labels if label not in removed.values()],
            erased="Milvus was asked to erase their bytes (flush, compact), which it does in its "
            "own time",
        )

    def _upsert(
        self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray
    ) -> None:
        rows = rows_of(encoder.fingerprint, ids, labels, units)
        for start in range(0, len(rows), AT_ONCE):
            self.client.upsert(self.collection, rows[start : start + AT_ONCE])

    def declare(self, compatibility: Compatibility) -> None:
        self.refresh()
        self._keep_fact(
            f"compatible:{compatibility.query}:{compatibility.gallery}", asdict(compatibility)
        )

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        self.refresh()
        rows = self._pages(f"not ({one_of('encoder', [encoder])})")
        return [row["id"] for row in rows], [row["label"] for row in rows]

    def embedded(self, ids: list[str]) -> Iterator[Group]:
        return groups_of(self._rows("id", ids, "embedding"), ids)

    def describe(self) -> Description:
        self.refresh()
        return Description(self.encoders_in_use(), self.compatibilities(), ["kept by Milvus"])

    def close(self) -> None:
        try:
            self._withdraw(list(self._writes))
        finally:
            self.client.close()
