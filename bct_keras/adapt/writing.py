"""Writes the folder of an adaptation: the adapter, the encoder with it, and what they are."""

from pathlib import Path
from typing import Any

from bct_keras import artefacts
from bct_keras.adapt.adaptation import Adaptation
from bct_keras.encoders import ADAPTER_FILE, ADAPTER_KIND, ENCODER_FILE


def write(
    found: Adaptation, pairs: int, folder: Path, made_from: dict[str, Any], for_queries: bool
) -> str:
    """Writes all files, the manifest last; returns what was written, in words.

    Args:
        found: The adapter and both encoders.
        pairs: How many pairs it was fitted on.
        folder: An empty folder.
        made_from: What decides the adapter, for the manifest.
        for_queries: Whether it is folded into the new encoder.
    """
    facts: dict[str, Any] = {"pairs": pairs}
    said = []
    if found.adapter is not None:
        path = folder / ADAPTER_FILE
        found.adapter.save(path)
        facts["adapter"] = artefacts.file_sha256(path)
        dims = f"{found.adapter.source_dims} -> {found.adapter.target_dims} dimensions"
        said.append(f"{ADAPTER_FILE} ({found.adapter.name}, {dims}, {pairs:,} pairs)")
    if found.weight is not None:
        facts["weight"] = found.weight.value
        facts["weight_gains"] = found.weight.gains
    model = found.model() if for_queries else None
    if model is not None:
        path = folder / ENCODER_FILE
        model.save(path)
        facts["encoder"] = artefacts.file_sha256(path)
        said.append(f"{ENCODER_FILE} with both outputs, embedding and embedding_compatible")
    artefacts.write_manifest(folder, ADAPTER_KIND, made_from, **facts)
    return " and ".join(said) or "the weight of the fused query"
