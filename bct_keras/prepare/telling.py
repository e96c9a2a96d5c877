"""What is told of a data set: how much of what is there, and the command that goes on from it."""

from pathlib import Path
from typing import Any

from bct_keras import artefacts, stores
from bct_keras.data import amount, records
from bct_keras.prepare.sources.source import Source
from bct_keras.printable import command_line, line
from bct_keras.progress import Outcome
from bct_keras.untrusted.json_files import field

LISTED_SKIPPED = 20


def summary(out: Path) -> str:
    """Returns what the manifest says is there."""
    manifest = artefacts.read_manifest(out, records.KIND)
    where = out / artefacts.MANIFEST
    views = field(manifest, "views", list, where)
    skipped = field(manifest, "skipped", list, where)
    images = field(manifest, "records", int, where)
    identities = field(manifest, "classes", int, where)
    text = f"{images:,} images of {identities:,} identities"
    if views:
        names = [line(view) for view in views]
        text += f", views {', '.join(names)}"
    if skipped:
        text += f"\n{len(skipped)} images left out:"
        for reason in skipped[:LISTED_SKIPPED]:
            text += f"\n  {line(reason)}"
    return text


def outcome(said: str, out: Path) -> Outcome:
    """Returns what is told of a data set, of which there may be a part alone.

    Args:
        said: What `prepare` says of it.
        out: Its folder.
    """
    if stores.size_of(out / artefacts.MANIFEST) is None:
        return Outcome(said, {"out": out})
    manifest = artefacts.read_manifest(out, records.KIND)
    where = out / artefacts.MANIFEST
    views = field(manifest, "views", list, where)
    facts = {
        "out": out,
        "images": field(manifest, "records", int, where),
        "identities": field(manifest, "classes", int, where),
        "views": views,
        "skipped": field(manifest, "skipped", list, where),
    }
    return Outcome(said, facts, [" ".join(what_follows(facts))])


def what_follows(facts: dict[str, Any]) -> list[str]:
    """Returns the command that goes on from a data set: what it is large enough for.

    DIMS are those of the old encoder OLD, and NEW is an encoder that has seen other images.
    """
    # `all` is what the encoders of a user have not seen; `new` is the new one's part in papers.
    view = "all" if "all" in facts["views"] else ""
    data = str(facts["out"] / view)
    if amount.is_small(facts["images"], facts["identities"]):
        flags = {"new": "NEW", "old": "OLD", "data": data, "out": "adapted/mine"}
        return command_line("adapt", flags)
    flags = {
        "flagfile": "configs/gallerycontrast.flags",
        "data": data,
        "old": "OLD",
        "dims": "DIMS",
        "workdir": "runs/mine",
    }
    return command_line("train", flags)


def passed_over(source: Source) -> str:
    """Returns a line on files that are no images, where there are some."""
    found = source.passed_over
    if not found:
        return ""
    what = f"{len(found)}, such as {line(found[0])}"
    return f"\npassed over, as no image that can be read: {what}"
