"""Which shard or image TensorFlow could not read: its own error names neither."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice

import tensorflow as tf

from bct_keras import progress
from bct_keras.data.dataset import DataSet
from bct_keras.data.shards import Shard, Stored, stored_records
from bct_keras.errors import BadImageError, InputError, option

BATCH_SIZE = 256
# The message of TensorFlow's error may quote a record, whose bytes Python cannot read as text.
FAILURES = (tf.errors.OpError, UnicodeDecodeError)
# Which operation it was, which tells a user nothing.
AROUND_REASON = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:.*")


def again() -> str:
    """Says how a data set is made without what cannot be decoded."""
    skip = option("on_bad", "skip")
    source = f"{option('source')}='recordio(DIR, decode=True)'"
    return (
        f"run prepare again without it: {skip} leaves out what cannot be decoded, of RecordIO with "
        f"{source}"
    )


@contextlib.contextmanager
def named(data: DataSet, shards: Sequence[Shard] | None = None) -> Iterator[None]:
    """Raises in place of TensorFlow's error one that names what cannot be read in these shards."""
    try:
        yield
    except FAILURES:
        look(data, shards)
        raise


def look(data: DataSet, shards: Sequence[Shard] | None = None) -> None:
    """Reads and decodes everything up to the first shard or image that cannot be, and names it."""
    shards = shards or data.shards
    what = f"looking for what cannot be read in {data.folder}"
    for shard in progress.track(shards, what, len(shards), "shards"):
        shard.check_content()
        decode_all(data, shard)


def decode_all(data: DataSet, shard: Shard) -> None:
    """Decodes all images of a shard; raises for the first that cannot be."""
    decoded = 0
    try:
        for batch in data.batches(BATCH_SIZE, (shard,)):
            decoded += len(batch["label"])
    except FAILURES as error:
        for stored in islice(stored_records(shard.here), decoded, decoded + BATCH_SIZE):
            decode_one(data, shard, stored)
        raise InputError(
            f"{shard.path}, a record after the first {decoded:,}: {reason(error)}; {again()}"
        ) from None


def decode_one(data: DataSet, shard: Shard, stored: Stored | BadImageError) -> None:
    """Decodes one image; raises where it cannot be."""
    if isinstance(stored, BadImageError):
        raise stored
    try:
        data.decode(tf.constant(stored.image))
    except FAILURES as error:
        where = f"{shard.path}, record at byte {stored.offset} ({stored.id})"
        raise InputError(
            f"{where}: the image cannot be decoded ({reason(error)}); {again()}"
        ) from None


def reason(error: Exception) -> str:
    """Returns what TensorFlow says, without the name of the operation."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    text = AROUND_REASON.sub("", lines[0])
    return text.rstrip(".")
