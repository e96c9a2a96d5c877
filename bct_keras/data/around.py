"""Finds what lies around a view: the data set that it is a part of, and the other parts."""

from collections.abc import Iterable
from pathlib import Path

from bct_keras import artefacts, specs, stores
from bct_keras.data.records import KIND
from bct_keras.errors import InputError

TEST = "test"
# What an encoder may be fitted on: `all` is what the encoders of a user have not seen.
TO_FIT_ON = ("all", "new")


def views_of(folder: Path) -> list[str]:
    """Returns the names of the views that lie in a whole data set; none where it is none."""
    if artefacts.kind_of(folder) != KIND:
        return []
    views = artefacts.read_manifest(folder, KIND).get("views")
    if not isinstance(views, list):
        return []
    return [view for view in views if (folder / str(view) / artefacts.MANIFEST).is_file()]


def whole_of(folder: Path) -> Path:
    """Returns the data set that a view is a part of; the folder itself where it is no view."""
    return folder.parent if folder.name in views_of(folder.parent) else folder


def to_fit_on(folder: Path) -> Path:
    """Returns the part of a data set that may be fitted on; all of it where none is held out."""
    whole = whole_of(folder)
    views = views_of(whole)
    for view in TO_FIT_ON:
        if view in views:
            return whole / view
    return whole


def measured_by(protocols: Iterable[str]) -> Path | None:
    """Returns the data set that the first `retrieval(DATA)` names; None where none is there."""
    for spec in protocols:
        try:
            found = specs.parse(spec)
            given = [*found.positional, found.keywords.get("data", "")]
            place = stores.place(str(specs.literal(given[0])))
        except InputError:
            continue
        if found.name == "retrieval" and artefacts.kind_of(place) == KIND:
            return place
    return None
