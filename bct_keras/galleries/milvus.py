"""A gallery in Milvus (milvus.io): a cluster by its address, or Milvus Lite in a folder to try it.

The encoders and what was declared of them are kept in a second collection, NAME_encoders. Milvus holds each id once: an
entry that is embedded anew is upserted under its id.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.galleries.gallery import (
    LONGEST_NAME,
    Compatibility,
    Description,
    Gallery,
    KnownEncoder,
    Match,
    first_positions,
)

AT_ONCE = 1000
FACT_BYTES = 8192


class Plainly:
    """Calls a client; its errors become plain lines, since most tell of a server that is gone or that refuses."""

    def __init__(self, name: str, client: Any, errors: type[Exception]):
        self.name, self.client, self.errors = name, client, errors

    def __getattr__(self, method: str) -> Any:
        def call(*positional: Any, **named: Any) -> Any:
            with plainly(self.name, self.errors):
                return getattr(self.client, method)(*positional, **named)

        return call


@contextlib.contextmanager
def plainly(name: str, errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (errors, OSError, ValueError) as error:
        text = str(getattr(error, "message", error)).strip() or type(error).__name__
        raise InputError(f"{name}: Milvus says: {text.splitlines()[0]}") from None


class MilvusGallery(Gallery):
    """`milvus(http://host:19530)` or `milvus(people.db)`; a cluster's token is read from MILVUS_TOKEN."""

    def __init__(self, uri: str, collection: str = "gallery"):
        try:
            import pymilvus
            from pymilvus.exceptions import MilvusException
        except ImportError:
            raise InputError("a gallery in Milvus needs pymilvus: pip install -e '.[milvus]'") from None
        self.pymilvus, self.name = pymilvus, f"{uri} ({collection})"
        self.collection, self.facts = collection, f"{collection}_encoders"
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs as a traceback what is told in a line here
        with plainly(uri, MilvusException):
            client = pymilvus.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
        self.client: Any = Plainly(uri, client, MilvusException)
        self._loaded = False

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
        kinds = self.pymilvus.DataType
        longest = {"id": LONGEST_NAME, "label": LONGEST_NAME, "encoder": 64}
        # First, so that where there is a gallery its facts can be read.
        # A collection has to have vectors; these mean nothing.
        self._make_collection(self.facts, {"id": 256, "fact": FACT_BYTES}, kinds.FLOAT_VECTOR, 2, "L2")
        self._make_collection(self.collection, longest, kinds.FLOAT_VECTOR, dims, "COSINE")
        self._load()

    def _make_collection(self, name: str, longest: dict[str, int], kind: Any, dims: int, metric: str) -> None:
        if self.client.has_collection(name):
            return
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        for field, length in longest.items():
            schema.add_field(field, self.pymilvus.DataType.VARCHAR, is_primary=field == "id", max_length=max(length, 1))
        schema.add_field("embedding", kind, dim=dims)
        index = self.client.prepare_index_params()
        index.add_index("embedding", index_type="AUTOINDEX", metric_type=metric)
        self.client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")

    def _facts(self, kind: str) -> list[dict[str, Any]]:
        if not self._loaded:  # no gallery yet
            return []
        found = self.client.query(self.facts, filter=f'id like "{kind}:%"', output_fields=["fact"])
        return [json.loads(row["fact"]) for row in found]

    def _keep_fact(self, ident: str, fact: KnownEncoder | Compatibility) -> None:
        row = {"id": ident, "fact": json.dumps(asdict(fact)), "embedding": [0.0, 1.0]}
        self.client.upsert(self.facts, [row])

    def _encoders(self) -> list[KnownEncoder]:
        return sorted((KnownEncoder(**fact) for fact in self._facts("encoder")), key=lambda known: known.fingerprint)

    def _count(self, condition: str) -> int:
        return int(self.client.query(self.collection, filter=condition, output_fields=["count(*)"])[0]["count(*)"])

    def encoders_in_use(self) -> dict[KnownEncoder, int]:
        counts = {known: self._count(f'encoder == "{known.fingerprint}"') for known in self._encoders()}
        return {known: count for known, count in counts.items() if count}

    def compatibilities(self) -> list[Compatibility]:
        return [Compatibility(**fact) for fact in self._facts("compatible")]

    def nearest(self, queries: np.ndarray, top: int, encoders: list[str]) -> list[list[Match]]:
        found = self.client.search(
            self.collection,
            data=queries.tolist(),
            limit=top,
            # Entries of an encoder that came in since it was looked whether the query fits them all are left out.
            filter=f"encoder in {json.dumps(encoders)}",
            output_fields=["label", "encoder"],
        )
        return [
            [Match(hit["id"], hit["entity"]["label"], hit["distance"], hit["entity"]["encoder"]) for hit in hits]
            for hits in found
        ]

    def _begin_writing(self, encoder: KnownEncoder) -> None:
        if not self._loaded:
            self._make(encoder.dims)
        fields = self.client.describe_collection(self.collection)["fields"]
        dims = next(field["params"]["dim"] for field in fields if field["name"] == "embedding")
        if int(dims) != encoder.dims:
            raise InputError(f"{self.name} holds {dims} dimensions and {encoder} gives {encoder.dims}")
        self._keep_fact(f"encoder:{encoder.fingerprint}", encoder)

    def add(self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray) -> int:
        units = self.checked(encoder, ids, labels, embeddings)
        self._begin_writing(encoder)
        first_of = first_positions(ids)
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            for row in self.client.get(self.collection, ids=some, output_fields=["id"]):
                first_of.pop(row["id"], None)
        new = list(first_of.values())
        self._upsert(encoder, [ids[each] for each in new], [labels[each] for each in new], units[new])
        return len(new)

    def replace(self, encoder: KnownEncoder, ids: list[str], labels: list[str], embeddings: np.ndarray) -> None:
        units = self.checked(encoder, ids, labels, embeddings)
        self._begin_writing(encoder)
        self._upsert(encoder, ids, labels, units)

    def _upsert(self, encoder: KnownEncoder, ids: list[str], labels: list[str], units: np.ndarray) -> None:
        rows = [
            {"id": ident, "label": label, "encoder": encoder.fingerprint, "embedding": embedding.tolist()}
            for ident, label, embedding in zip(ids, labels, units, strict=True)
        ]
        for start in range(0, len(rows), AT_ONCE):
            self.client.upsert(self.collection, rows[start : start + AT_ONCE])

    def declare(self, compatibility: Compatibility) -> None:
        self.refresh()
        self._keep_fact(f"compatible:{compatibility.query}:{compatibility.gallery}", compatibility)

    def entries_of_others(self, encoder: str) -> tuple[list[str], list[str]]:
        self.refresh()
        condition = f'encoder != "{encoder}"'
        pages = self.client.query_iterator(self.collection, filter=condition, output_fields=["id", "label"])
        rows: list[dict[str, Any]] = []
        while page := pages.next():
            rows += page
        pages.close()
        rows.sort(key=lambda row: row["id"])
        return [row["id"] for row in rows], [row["label"] for row in rows]

    def describe(self) -> Description:
        self.refresh()
        in_use = self.encoders_in_use()
        dims = next((known.dims for known in in_use), 0)
        return Description(dims, in_use, self.compatibilities(), ["kept by Milvus"])

    def close(self) -> None:
        self.client.close()
