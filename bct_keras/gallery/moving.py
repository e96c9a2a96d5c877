"""Moves the entries of an old encoder to the space of a new one, by an adapter old -> new.

No image is needed. What an entry was is kept beside it until that is forgotten, so that a move can
be taken back, and the old encoder's queries find everything meanwhile.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras import artefacts, progress
from bct_keras.adapters import Adapter
from bct_keras.encoders import (
    ADAPTER_FILE,
    ADAPTER_KIND,
    Encoder,
    load_adapter,
)
from bct_keras.encoders.derived import adapted_fingerprint
from bct_keras.encoders.in_memory import model_fingerprint
from bct_keras.errors import InputError, option
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.spaces import Declared
from bct_keras.specs import quoted
from bct_keras.untrusted.json_files import field

GALLERY = "gallery"  # the direction, as `adapt` calls it


@dataclass(frozen=True)
class FittedAdapter:
    """An adapter, and for what encoders it was fitted as far as its folder says so."""

    path: Path
    adapter: Adapter
    source: str = ""  # fingerprint of the encoder whose embeddings it takes
    target: str = ""

    def moved(self, base: KnownEncoder) -> KnownEncoder:
        """Returns the encoder of entries that this adapter has moved."""
        return KnownEncoder(
            fingerprint=adapted_fingerprint(base.fingerprint, self.adapter),
            dims=self.adapter.target_dims,
            name=f"adapted({quoted(base.name)}, {quoted(str(self.path))})",
            base=base.fingerprint,
            adapter=model_fingerprint(self.adapter, str(self.path)),
        )

    def transform(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns what the adapter makes of embeddings [entries, source dims]."""
        return self.adapter.predict(embeddings, verbose=0)


def read_adapter(path: str | Path) -> FittedAdapter:
    """Reads an adapter's file, or the folder that `adapt` has made of it."""
    path = Path(path)
    file = path / ADAPTER_FILE if path.is_dir() else path
    adapter = load_adapter(file)
    folder = file.parent
    if artefacts.kind_of(folder) != ADAPTER_KIND:
        return FittedAdapter(file, adapter)
    manifest = artefacts.read_manifest(folder, ADAPTER_KIND)
    if manifest.get("adapter") != artefacts.file_sha256(file):
        if path.is_dir():
            raise InputError(f"{file} is not the adapter that {folder} was made with; adapt again")
        return FittedAdapter(file, adapter)
    made_from = manifest["made_from"]
    if made_from.get("direction") != GALLERY:
        raise InputError(
            f"{file} was fitted for queries, new -> old, and moves no gallery: fit another one by "
            f"adapt {option('direction', GALLERY)}"
        )
    source = field(made_from, "source", str, folder)
    target = field(made_from, "target", str, folder)
    return FittedAdapter(file, adapter, source, target)


def base_of(gallery: Gallery, fitted: FittedAdapter) -> KnownEncoder:
    """Returns the encoder whose entries the adapter moves; raises where it is for none of them."""
    known = list(gallery.encoders_in_use())
    for encoder in known:  # a move that was stopped, or is done, has some of its own
        known += [each for each in gallery.encoders_behind(encoder) if each not in known]
    there = ", ".join(str(encoder) for encoder in known)
    bases = []
    for encoder in known:
        if fitted.source in ("", encoder.fingerprint) and not encoder.adapter:
            bases.append(encoder)
    if not bases:
        raise InputError(
            f"{fitted.path} was fitted for another encoder ({fitted.source[:12]}) than those of "
            f"{gallery.name}, which holds entries of {there or 'none'}: fit one by adapt "
            f"{option('direction', GALLERY)}"
        )
    dims = fitted.adapter.source_dims
    alike = [encoder for encoder in bases if encoder.dims == dims]
    if not alike:
        raise InputError(
            f"{fitted.path} takes embeddings of {dims} dimensions, and {gallery.name} holds "
            f"{bases[0].dims} by {bases[0]}"
        )
    if len(alike) > 1:
        raise InputError(
            f"{fitted.path} does not say for which encoder it was fitted, and {gallery.name} holds "
            f"entries of {there}: give the folder that adapt has made"
        )
    return alike[0]


def check_searched_by(
    new: Encoder, moved: KnownEncoder, gallery: Gallery, to_come: Iterable[Compatibility]
) -> None:
    """Raises unless queries of the new encoder are known to fit entries that are moved.

    Args:
        new: The new encoder.
        moved: The encoder of entries that are moved.
        gallery: That of the entries.
        to_come: What is going to be declared in it.
    """
    if new.dims != moved.dims:
        raise InputError(
            f"{new.spec} gives {new.dims} dimensions, and moved entries have {moved.dims}"
        )
    declared = Declared([*gallery.compatibilities(), *to_come])
    if not declared.fits(new.fingerprint, moved):
        raise InputError(
            f"no report says that queries of {new.spec} fit entries of {moved}:",
            f"evaluate {option('old', 'OLD')} {option('new', new.spec)} "
            f"{option('moved', 'ADAPTER')} gives one; add it by {option('report', 'FOLDER')}",
        )


def move_entries(gallery: Gallery, base: KnownEncoder, fitted: FittedAdapter) -> int:
    """Moves all entries of an encoder; returns how many, when they are safe."""
    moved = fitted.moved(base)
    in_use = gallery.encoders_in_use()
    done_now = 0
    with progress.bar(f"moving {gallery.name}", in_use.get(base, 0), "entries") as done:
        for count in gallery.move(base, moved, fitted.transform):
            done_now += count
            done.update(count)
    return done_now
