"""The old encoder, as a trainer finds it: something that embeds, or the embeddings that it left."""

from pathlib import Path

from bct_keras import artefacts, stores
from bct_keras.data.dataset import DataSet
from bct_keras.data.embeddings import KIND, EmbeddingShards, open_embeddings
from bct_keras.embed.run import embed_and_tell
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError, option
from bct_keras.progress import Say, silent
from bct_keras.untrusted.json_files import field


def embeddings(old: Path, data: DataSet, dims: int, say: Say = silent) -> EmbeddingShards:
    """Returns the old embeddings of the data to train on.

    They are made beside it where `old` is an encoder and not already a folder of them; `say` gets
    the lines that are told of that.
    """
    if is_embeddings(old):
        folder = old
    else:
        encoder = load_encoder(old)
        check_dims(encoder.dims, dims, old)
        folder = data.folder.with_name(f"{data.folder.name}-by-{encoder.fingerprint[:12]}")
        say(embed_and_tell(encoder, data, folder, say))
    shards = open_embeddings(folder, data)
    check_dims(shards.dims, dims, folder)
    return shards


def is_embeddings(folder: Path) -> bool:
    """Tells whether this is a folder that `embed` has made."""
    return folder.is_dir() and artefacts.kind_of(folder) == KIND


def check_dims(old_dims: int, dims: int, where: Path) -> None:
    """Raises where the old embeddings have other dimensions than are kept compatible."""
    if old_dims == dims:
        return
    as_old = option("dims", old_dims)
    compatible = option("compatible_dims", old_dims)
    raise InputError(
        f"{where} has embeddings of {old_dims} dimensions and the new encoder would have {dims} "
        f"to be compatible; train with {as_old}, or with more and {compatible}"
    )


def known(old: Path | None) -> Encoder | None:
    """Returns what the new encoder is to be compared with.

    Of embeddings made by `embed` that is their encoder, if it is still there.
    """
    if old is None:
        return None
    if not is_embeddings(old):
        return load_encoder(old)
    manifest = artefacts.read_manifest(old, KIND)
    where = old / artefacts.MANIFEST
    path = stores.place(field(manifest, "encoder", str, where))
    if not path.exists():
        return None
    # Manifests of an earlier version have no spec.
    with_spec = {"encoder_spec": str(path)} | manifest
    encoder = load_encoder(field(with_spec, "encoder_spec", str, where), may_trust=False)
    if encoder.fingerprint != manifest["made_from"].get("encoder"):
        return None
    return encoder
