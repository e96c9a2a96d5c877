"""What a new encoder is judged by after its training, and whether it can be: told before the training."""

from pathlib import Path

from bct_keras import artefacts, registry
from bct_keras.data.dataset import DataSet
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluation import PROTOCOLS
from bct_keras.evaluation.retrieval import Retrieval
from bct_keras.stored_embeddings import StoredEmbeddings

WITHOUT = "or train without a proof, by --protocol=none"


def protocols(asked: list[str] | None, data: DataSet) -> list[str]:
    """Those asked for, of which `none` is none; by default that of the identities that were held out."""
    return [spec for spec in asked or test_protocol(data) if spec != "none"]


def test_protocol(data: DataSet) -> list[str]:
    """Retrieval on the view with the identities that the split held out."""
    test = data.folder.parent / "test"
    return [f"retrieval({registry.quoted(str(test))})"] if (test / artefacts.MANIFEST).is_file() else []


def check(specs: list[str], data: DataSet, old: Path | None, encoder: Encoder | None) -> None:
    """An error where a protocol cannot be measured; `encoder` is what is known of the old one that lies at `old`."""
    if old and not encoder and specs:
        raise InputError(
            f"{old} has embeddings of the images to train on alone, and their encoder is not where it was: nothing "
            f"could show that the new one is compatible.",
            f"Give the old encoder itself as --old, {WITHOUT}",
        )
    for spec in specs:
        protocol = registry.build(PROTOCOLS, spec)
        judged = {shard.sha256 for shard in protocol.data.shards} if isinstance(protocol, Retrieval) else set()
        if judged & {shard.sha256 for shard in data.shards}:
            raise InputError(
                f"{spec} has images of {data.folder}, which is trained on: it would prove nothing.",
                f"Give one of other identities, such as the `test` that prepare's test_share makes, {WITHOUT}",
            )
        if isinstance(encoder, StoredEmbeddings):
            try:
                protocol.embed(encoder)
            except InputError as error:
                raise InputError(
                    f"{error}, which the proof by {spec} needs.",
                    f"Store what the old encoder gives there too, {WITHOUT}",
                ) from None
