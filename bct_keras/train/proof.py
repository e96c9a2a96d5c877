"""What a new encoder is judged by after its training, and whether it can be.

That is told before the training.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from bct_keras import artefacts
from bct_keras.data import records
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import Encoder
from bct_keras.encoders.stored import StoredEmbeddings
from bct_keras.errors import InputError, option
from bct_keras.evaluate import held_out
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.retrieval import Retrieval


def apart() -> str:
    """Says what to do where a validation shares identities with the proof."""
    split = f"{option('split')}='class(test_share=0.2, validation_share=0.1)'"
    validation = f"{option('validation')}='retrieval(DATA/validation)'"
    return f"Hold identities of its own out for it, as by {split}, and give {validation}"


def without() -> str:
    """Says how to train where nothing can be proven."""
    return f"or train without a proof, by {option('protocol', 'none')}"


def lines_without(formats: list[str]) -> list[str]:
    """Returns what to know before a training that nothing proves, in two lines.

    Args:
        formats: What is to be exported.
    """
    exported = (
        "" if formats == ["none"] else "; its files are exported unproven, as their card says"
    )
    split = f"{option('split')}='class(test_share=0.2)'"
    protocol = f"{option('protocol')}='retrieval(DATA)'"
    return [
        "note: nothing will prove this encoder: no identities are held out beside the data, and no "
        f"{option('protocol')} is given{exported}",
        f"hold some out, by {split} of prepare, or give {protocol} of others; "
        f"{option('protocol', 'none')} says that no proof is wanted",
    ]


def check(
    protocols: Mapping[str, Protocol], data: DataSet, old: Path | None, encoder: Encoder | None
) -> None:
    """Raises where a protocol cannot be measured, or would prove nothing.

    Args:
        protocols: What the new encoder is to be judged by.
        data: What it is trained on.
        old: Where the old encoder or its embeddings lie.
        encoder: What is known of the old encoder.
    """
    if old and not encoder and protocols:
        raise InputError(
            f"{old} has embeddings of the images to train on alone, and their encoder is not where "
            "it was: nothing could show that the new one is compatible.",
            f"Give the old encoder itself as {option('old')}, {without()}",
        )
    held_out.check_apart(protocols, data, without())
    for spec, protocol in protocols.items():
        if isinstance(encoder, StoredEmbeddings):
            check_stored(encoder, spec, protocol)


def check_stored(encoder: StoredEmbeddings, spec: str, protocol: Protocol) -> None:
    """Raises where the stored old embeddings do not have all images of a protocol."""
    try:
        protocol.embed(encoder)
    except InputError as error:
        raise InputError(
            f"{error}, which the proof by {spec} needs.",
            f"Store what the old encoder gives there too, {without()}",
        ) from None


def check_validation(
    validation: Mapping[str, Protocol],
    keep_best: str,
    proven_by: Mapping[str, Protocol],
    data: DataSet,
) -> list[str]:
    """Returns what is to be known of a validation.

    Raises where the epoch would be chosen by what then proves the encoder.
    """
    if not validation:
        return []
    proofs = proven_by or build_protocols(held_out.test_protocol(data))
    warnings = []
    for spec, protocol in validation.items():
        for proof_spec, proof in proofs.items():
            what = in_common(protocol, proof)
            if not what:
                continue
            if keep_best and proven_by:
                raise InputError(
                    f"{option('keep_best')} would choose the epoch by {spec}, which has {what} of "
                    f"the proof by {proof_spec}: what fits them by chance would be proven.",
                    f"{apart()}, or leave {option('keep_best')} out",
                )
            warnings.append(
                f"{option('validation', spec)} has {what} that {proof_spec} is to prove the "
                "encoder by: to look at; an epoch or a flag that is chosen by it makes that "
                "proof too good"
            )
    return warnings


def in_common(one: Protocol, other: Protocol) -> str | None:
    """Returns what two protocols share, images or identities, as far as it can be told."""
    if type(one) is type(other) and one.made_from() == other.made_from():
        return "the images"
    if not isinstance(one, Retrieval) or not isinstance(other, Retrieval):
        return None
    if image_digests(one.data) & image_digests(other.data):
        return "images"
    if share_identities(one.data, other.data):
        return "identities"
    return None


def share_identities(one: DataSet, other: DataSet) -> bool:
    """Tells whether two views of one data set have identities in common."""
    first_manifest = artefacts.read_manifest(one.folder, records.KIND)
    second_manifest = artefacts.read_manifest(other.folder, records.KIND)
    if first_manifest["made_from"] != second_manifest["made_from"]:
        return False
    first = identities_of(one)
    second = identities_of(other)
    return first.start < second.stop and second.start < first.stop


def image_digests(data: DataSet) -> set[bytes]:
    """Returns a digest of each image, which is the same in whatever data set the image lies."""
    found = set()
    paths = data.files()
    for serialized in tf.data.TFRecordDataset(paths).batch(256):
        record = data.parse(serialized, ("image", "label"))
        for image in record["image"].numpy().tolist():
            digest = hashlib.blake2b(image, digest_size=16)
            found.add(digest.digest())
    return found


def identities_of(data: DataSet) -> range:
    """Returns the identities of a view as the whole data set numbers them."""
    first = data.first_identity
    return range(first, first + data.classes)
