"""Tells whether an encoder was fitted on images that it is measured by, where manifests know it."""

from collections.abc import Iterator
from pathlib import Path

from bct_keras import artefacts, stores
from bct_keras.data import around
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.encoders import (
    ADAPTER_FILE,
    ADAPTER_KIND,
    ENCODER_FILE,
    RUN_KIND,
    AdaptedEncoder,
    DerivedEncoder,
    Encoder,
)
from bct_keras.errors import InputError

# What the manifest of a run or of an adapter calls the fingerprint of what it was fitted on.
NAME_OF_DATA = {RUN_KIND: "data", ADAPTER_KIND: "items"}


def notes(encoders: list[Encoder], data: DataSet | None, spec: str) -> list[str]:
    """Returns a note on each run or adapter that was fitted on images of a protocol.

    Nothing is said where it cannot be known: of a file without its folder, or of another data set
    that was made from the same images.

    Args:
        encoders: What is measured.
        data: The protocol's data set.
        spec: The protocol.
    """
    if data is None:
        return []
    fitted_by: dict[Path, str] = {}
    for encoder in encoders:
        for folder in folders_of(encoder):
            manifest = artefacts.read_manifest(folder, artefacts.kind_of(folder) or "")
            name = NAME_OF_DATA[manifest["kind"]]
            fitted_by[folder] = str(manifest["made_from"].get(name))
    if not fitted_by:
        return []
    shared = images_in_common(data)
    found = []
    for folder, fingerprint in fitted_by.items():
        images = shared.get(fingerprint, 0)
        if images:
            found.append(
                f"warning: {folder} was fitted on {images:,} of the {data.records:,} images of "
                f"{spec}: verdict and intervals hold for identities that it has not seen, and "
                "these flatter it; measure on those that were held out, as prepare's `test`"
            )
    return found


def folders_of(encoder: Encoder) -> Iterator[Path]:
    """Yields the folders of the runs and adapters that an encoder is made of."""
    if isinstance(encoder, DerivedEncoder):
        for source in encoder.sources:
            yield from folders_of(source)
    place = encoder.path
    if isinstance(encoder, AdaptedEncoder):
        place = stores.place(encoder.adapter_file)
    folder = place.parent if place.name in (ADAPTER_FILE, ENCODER_FILE) else place
    if artefacts.kind_of(folder) in NAME_OF_DATA:
        yield folder


def images_in_common(data: DataSet) -> dict[str, int]:
    """Returns how many images each part of the same data set shares, by the part's fingerprint."""
    measured = {shard.sha256 for shard in data.shards}
    whole = around.whole_of(data.folder)
    found = {}
    for view in ("", *around.views_of(whole)):
        try:
            part = open_data_set(whole / view)
        except InputError:  # a part that is damaged says nothing
            continue
        shared = [shard.records for shard in part.shards if shard.sha256 in measured]
        found[part.fingerprint] = sum(shared)
    return found
