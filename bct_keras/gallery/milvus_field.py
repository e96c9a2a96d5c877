"""Reads and writes one collection of entries in Milvus: a field of vectors, one for each entry."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from bct_keras.errors import InputError
from bct_keras.gallery.facts import Match
from bct_keras.gallery.milvus_client import entries_of, literal, match_of, one_of
from bct_keras.gallery.spaces import Part

AT_ONCE = 1000  # ids in one condition, and queries in one search
# Entries in a page. A cluster gives no more than the second; Milvus Lite goes through the whole
# collection for each page, and is asked for larger ones first.
LARGE_PAGE, PAGE = 250_000, 16_384
WRITTEN_BYTES = 16 * 2**20  # in one insert; the least that servers are set to take is 64 MB
TEXT_BYTES = 300  # of an entry's id, label and encoder, about
EVERY = 'id >= ""'

Row = dict[str, Any]


class MilvusField:
    """The entries in one collection; each id is there once."""

    def __init__(self, client: Any, collection: str):
        self.client = client
        self.collection = collection
        self.page = LARGE_PAGE
        client.load_collection(collection)
        fields = client.describe_collection(collection)["fields"]
        self.dims = next(
            int(field["params"]["dim"]) for field in fields if field["name"] == "embedding"
        )

    def count(self, condition: str = "") -> int:
        """Returns how many entries meet a condition, or how many there are."""
        count = "count(*)"
        found = self.client.query(self.collection, filter=condition, output_fields=[count])
        return int(found[0][count])

    def rows(self, ids: Collection[str], *more: str) -> list[Row]:
        """Returns id, label, encoder, and more fields, of the entries with these ids."""
        wanted = list(dict.fromkeys(ids))
        rows: list[Row] = []
        for start in range(0, len(wanted), AT_ONCE):
            # Not as a page: Milvus Lite finds ids at once where nothing else is asked.
            rows += self.client.query(
                self.collection,
                filter=one_of("id", wanted[start : start + AT_ONCE]),
                output_fields=["id", "label", "encoder", *more],
            )
        return rows

    def there(self, ids: Collection[str]) -> set[str]:
        """Returns those of the ids that have an entry."""
        return {row["id"] for row in self.rows(ids)}

    def entries(self, condition: str = EVERY) -> Iterator[Row]:
        """Yields id, label and encoder of all entries that meet a condition, sorted by id."""
        # Not client.query_iterator, whose own condition on the last id of a page fails where that
        # holds a quote.
        after = ""
        while page := self._page(f"{after}({condition})"):
            yield from page
            after = f"id > {literal(page[-1]['id'])} and "

    def _page(self, condition: str) -> list[Row]:
        try:
            return self._page_of(condition, self.page)
        except InputError:
            if self.page == PAGE:
                raise
            self.page = min(PAGE, self.page)
            return self._page_of(condition, self.page)

    def _page_of(self, condition: str, entries: int) -> list[Row]:
        return self.client.query(
            self.collection,
            filter=condition,
            output_fields=["id", "label", "encoder"],
            limit=entries,
            iterator="True",  # sorted by id
            reduce_stop_for_best="True",
        )

    def labelled(self, labels: Collection[str]) -> list[Row]:
        """Returns the entries with these labels."""
        wanted = list(dict.fromkeys(labels))
        rows: list[Row] = []
        for start in range(0, len(wanted), AT_ONCE):
            rows += self.entries(one_of("label", wanted[start : start + AT_ONCE]))
        return rows

    def hits(self, part: Part, top: int) -> list[list[Match]]:
        """Returns for each query of a part the entries of it that are most like it."""
        found: list[list[Match]] = []
        for start in range(0, len(part.queries), AT_ONCE):
            hits_of_queries = self.client.search(
                self.collection,
                data=list(part.queries[start : start + AT_ONCE]),
                limit=top,
                filter=entries_of(part),
                output_fields=["label", "encoder"],
            )
            for hits in hits_of_queries:
                found.append([match_of(hit) for hit in hits])
        return found

    def insert(self, rows: list[Row]) -> None:
        """Writes entries whose ids are not there."""
        for some in self._lots(rows):
            self.client.insert(self.collection, some)

    def upsert(self, rows: list[Row]) -> None:
        """Writes entries in place of those with their ids."""
        for some in self._lots(rows):
            self.client.upsert(self.collection, some)

    def _lots(self, rows: list[Row]) -> Iterator[list[Row]]:
        """Yields rows in pieces that a server takes at once."""
        at_once = max(WRITTEN_BYTES // (4 * self.dims + TEXT_BYTES), 1)
        for start in range(0, len(rows), at_once):
            yield rows[start : start + at_once]

    def delete(self, ids: Collection[str]) -> None:
        """Deletes the entries with these ids."""
        going = list(ids)
        for start in range(0, len(going), AT_ONCE):
            self.client.delete(self.collection, filter=one_of("id", going[start : start + AT_ONCE]))

    def settle(self) -> None:
        """Asks Milvus to index what was written last, which searches go through one by one else."""
        with contextlib.suppress(InputError):  # a cluster refuses to be asked too often
            self.client.flush(self.collection)

    def erase(self) -> None:
        """Asks Milvus to erase the bytes of what was deleted."""
        self.client.flush(self.collection)
        self.client.compact(self.collection)


def missing(wanted: Iterator[Row], there: Iterator[Row]) -> Iterator[Row]:
    """Yields those entries whose ids are not among others; both come sorted by id."""
    other = next(there, None)
    for row in wanted:
        while other is not None and other["id"] < row["id"]:
            other = next(there, None)
        if other is None or other["id"] != row["id"]:
            yield row
