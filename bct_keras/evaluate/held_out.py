"""Finds the identities that an encoder or an adapter is proven on: none that it was fitted on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bct_keras import artefacts, specs
from bct_keras.data.around import TEST
from bct_keras.data.dataset import DataSet
from bct_keras.errors import InputError
from bct_keras.evaluate.protocol import Protocol


def protocols(asked: Sequence[str] | None, data: DataSet) -> list[str]:
    """Returns those asked for, or else that of the identities held out; `none` is none."""
    wanted = asked or test_protocol(data)
    return [spec for spec in wanted if spec != "none"]


def test_protocol(data: DataSet) -> list[str]:
    """Returns retrieval on the identities that the split held out, where there are some."""
    test = test_data(data.folder)
    return [f"retrieval({specs.quoted(str(test))})"] if test else []


def test_data(view: Path) -> Path | None:
    """Returns the identities that the split of a view held out; None where there are none."""
    test = view.parent / TEST
    return test if (test / artefacts.MANIFEST).is_file() else None


def check_apart(protocols: Mapping[str, Protocol], data: DataSet, what_else: str) -> None:
    """Raises where a protocol has images that were fitted on, and so would prove nothing.

    Args:
        protocols: What is to be proven by.
        data: The images that are fitted on.
        what_else: What to do without such a proof, as the end of a sentence.
    """
    fitted_on = {shard.sha256 for shard in data.shards}
    for spec, protocol in protocols.items():
        judged_by = protocol.data.shards if protocol.data else ()
        if any(shard.sha256 in fitted_on for shard in judged_by):
            raise InputError(
                f"{spec} has images of {data.folder}, which is trained on: it would prove nothing.",
                "Give one of other identities, such as the `test` that prepare's test_share makes, "
                f"{what_else}",
            )
