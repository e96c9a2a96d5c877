"""What a new encoder is judged by after its training, and whether it can be: told before the training."""

import hashlib
from pathlib import Path
from typing import Any

import tensorflow as tf

from bct_keras import artefacts, registry
from bct_keras.data import records
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option
from bct_keras.evaluation import PROTOCOLS
from bct_keras.evaluation.retrieval import Retrieval
from bct_keras.stored_embeddings import StoredEmbeddings


def apart() -> str:
    """Says what to do where a validation shares identities with the proof."""
    split = f"{option('split')}='class(test_share=0.2, validation_share=0.1)'"
    validation = f"{option('validation')}='retrieval(DATA/validation)'"
    return f"Hold identities of its own out for it, as by {split}, and give {validation}"


def without() -> str:
    return f"or train without a proof, by {option('protocol', 'none')}"


def protocols(asked: list[str] | None, data: DataSet) -> list[str]:
    """Those asked for, of which `none` is none; by default that of the identities that were held out."""
    return [spec for spec in asked or test_protocol(data) if spec != "none"]


def test_protocol(data: DataSet) -> list[str]:
    """Retrieval on the view with the identities that the split held out."""
    test = data.folder.parent / "test"
    return (
        [f"retrieval({registry.quoted(str(test))})"]
        if (test / artefacts.MANIFEST).is_file()
        else []
    )


def check(specs: list[str], data: DataSet, old: Path | None, encoder: Encoder | None) -> None:
    """An error where a protocol cannot be measured; `encoder` is what is known of the old one that lies at `old`."""
    if old and not encoder and specs:
        raise InputError(
            f"{old} has embeddings of the images to train on alone, and their encoder is not where it was: nothing "
            f"could show that the new one is compatible.",
            f"Give the old encoder itself as {option('old')}, {without()}",
        )
    for spec in specs:
        protocol = registry.build(PROTOCOLS, spec)
        judged = (
            {shard.sha256 for shard in protocol.data.shards}
            if isinstance(protocol, Retrieval)
            else set()
        )
        if judged & {shard.sha256 for shard in data.shards}:
            raise InputError(
                f"{spec} has images of {data.folder}, which is trained on: it would prove nothing.",
                f"Give one of other identities, such as the `test` that prepare's test_share makes, {without()}",
            )
        if isinstance(encoder, StoredEmbeddings):
            try:
                protocol.embed(encoder)
            except InputError as error:
                raise InputError(
                    f"{error}, which the proof by {spec} needs.",
                    f"Store what the old encoder gives there too, {without()}",
                ) from None


def check_validation(
    specs: list[str], keep_best: str, proven_by: list[str], data: DataSet
) -> list[str]:
    """What is to be known of a validation; an error where the epoch would be chosen by what then proves the encoder."""
    warnings = []
    for spec in specs:
        for proof in proven_by or test_protocol(data):
            what = in_common(registry.build(PROTOCOLS, spec), registry.build(PROTOCOLS, proof))
            if what and keep_best and proven_by:
                raise InputError(
                    f"{option('keep_best')} would choose the epoch by {spec}, which has {what} of the proof by "
                    f"{proof}: what fits them by chance would be proven.",
                    f"{apart()}, or leave {option('keep_best')} out",
                )
            if what:
                warnings.append(
                    f"{option('validation', spec)} has {what} that {proof} is to prove the encoder by: to look at; "
                    "an epoch or a flag that is chosen by it makes that proof too good"
                )
    return warnings


def in_common(one: Any, other: Any) -> str | None:
    """`the images` or `the identities` where two protocols share some, as far as they can be compared."""
    if type(one) is type(other) and one.made_from() == other.made_from():
        return "the images"
    if not (isinstance(one, Retrieval) and isinstance(other, Retrieval)):
        return None
    if image_digests(one.data) & image_digests(other.data):
        return "images"
    manifests = [
        artefacts.read_manifest(protocol.data.folder, records.KIND) for protocol in (one, other)
    ]
    first, second = (identities_of(protocol.data) for protocol in (one, other))
    of_one_set = manifests[0]["made_from"] == manifests[1]["made_from"]
    return (
        "identities"
        if of_one_set and first.start < second.stop and second.start < first.stop
        else None
    )


def image_digests(data: DataSet) -> set[bytes]:
    """Whatever the data sets are called and however they are divided: by the bytes of each image."""
    found = set()
    for serialized in tf.data.TFRecordDataset([str(shard.path) for shard in data.shards]).batch(
        256
    ):
        images = data.parse(serialized, ("image", "label"))["image"].numpy().tolist()
        found |= {hashlib.blake2b(image, digest_size=16).digest() for image in images}
    return found


def identities_of(data: DataSet) -> range:
    """As the whole data set numbers them."""
    return range(data.first_identity, data.first_identity + data.classes)
