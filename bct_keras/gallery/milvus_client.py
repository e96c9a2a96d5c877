"""Prepares what a gallery in Milvus needs: conditions, errors in plain lines, collections."""

import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.errors import InputError
from bct_keras.gallery.facts import Match
from bct_keras.gallery.orders import Group
from bct_keras.gallery.spaces import Part

IN_A_LITERAL = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


# They log as tracebacks what is told in a line here, and what Milvus Lite lacks.
LOG_TRACEBACKS = ("pymilvus", "grpc._server")


def literal(text: str) -> str:
    """Returns a text, whatever characters it is made of, as a condition has it."""
    return '"' + text.translate(IN_A_LITERAL) + '"'


def one_of(field: str, texts: Collection[str]) -> str:
    """Returns the condition that a field is one of these texts."""
    literals = [literal(text) for text in texts]
    return f"{field} in [{', '.join(literals)}]"


def entries_of(part: Part) -> str:
    """Returns the condition that an entry is searched with a part.

    It leaves out those of an encoder that came in since it was looked whether the query fits all
    entries.
    """
    condition = one_of("encoder", [known.fingerprint for known in part.encoders])
    if part.labels:
        condition += f" and {one_of('label', part.labels)}"
    return condition


def match_of(hit: dict[str, Any]) -> Match:
    """Returns an entry that Milvus has found."""
    entity = hit["entity"]
    return Match(hit["id"], entity["label"], hit["distance"], entity["encoder"])


class Plainly:
    """Calls a client and makes plain lines of its errors.

    Most of them tell of a server that is gone or that refuses.
    """

    def __init__(self, name: str, client: Any, errors: type[Exception]):
        self.name, self.client, self.errors = name, client, errors

    def __getattr__(self, method: str) -> Any:
        def call(*positional: Any, **named: Any) -> Any:
            with plainly(self.name, self.errors):
                return getattr(self.client, method)(*positional, **named)

        return call


@contextlib.contextmanager
def plainly(name: str, errors: type[Exception]) -> Iterator[None]:
    """Tells in a line what Milvus says went wrong."""
    for library in LOG_TRACEBACKS:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        yield
    except (errors, OSError, ValueError) as error:
        text = str(getattr(error, "message", error)).strip() or type(error).__name__
        raise InputError(f"{name}: Milvus says: {text.splitlines()[0]}") from None


@dataclass(frozen=True)
class Table:
    """A collection, as it is made."""

    name: str
    longest: dict[str, int]  # the text fields, with how many bytes each may have
    dims: int
    metric: str


def make_collection(client: Any, pymilvus: Any, table: Table) -> None:
    """Makes a collection of texts and a vector, where it is not there."""
    if client.has_collection(table.name):
        return
    kinds = pymilvus.DataType
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field, length in table.longest.items():
        is_id = field == "id"
        schema.add_field(field, kinds.VARCHAR, is_primary=is_id, max_length=max(length, 1))
    schema.add_field("embedding", kinds.FLOAT_VECTOR, dim=table.dims)
    index = client.prepare_index_params()
    # Milvus Lite's own choice is a graph, which it makes anew whenever it merges its files. It took
    # most of the time of filling a million entries, and searches were no faster by it.
    index_type = "FLAT" if client.name.endswith(".db") else "AUTOINDEX"
    index.add_index("embedding", index_type=index_type, metric_type=table.metric)
    client.create_collection(
        table.name, schema=schema, index_params=index, consistency_level="Strong"
    )


def rows_of(
    encoder: str, ids: list[str], labels: list[str], units: np.ndarray
) -> list[dict[str, Any]]:
    """Returns entries as Milvus takes them; `encoder` is the fingerprint of who made them."""
    rows = []
    for ident, label, unit in zip(ids, labels, units, strict=True):
        rows.append({"id": ident, "label": label, "encoder": encoder, "embedding": unit})
    return rows


def groups_of(rows: list[dict[str, Any]], ids: list[str]) -> Iterator[Group]:
    """Yields the embeddings of rows for each encoder, with their places among ids."""
    position_of = {ident: position for position, ident in enumerate(ids)}
    rows_of_maker: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        rows_of_maker.setdefault(row["encoder"], []).append(row)
    for own_rows in rows_of_maker.values():
        positions = [position_of[row["id"]] for row in own_rows]
        embeddings = [row["embedding"] for row in own_rows]
        yield Group(np.array(positions), np.array(embeddings, np.float32))
