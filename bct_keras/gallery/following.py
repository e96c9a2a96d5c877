"""Names the commands that may follow what was done to a gallery."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bct_keras import stores
from bct_keras.data.around import TEST, measured_by, views_of, whole_of
from bct_keras.data.dataset import open_data_set
from bct_keras.data.images_by_id import whole
from bct_keras.errors import InputError
from bct_keras.evaluate.findings import NEW_OLD
from bct_keras.evaluate.routes import MOVED, TEST_OF
from bct_keras.evaluate.summary import given_of, verdicts_of
from bct_keras.metrics.verdict import COMPATIBLE, UNDECIDED
from bct_keras.printable import DATA, command_line
from bct_keras.untrusted.json_files import read_object

ENCODER, PHOTO, ID = "ENCODER", "photo.jpg", "ID"  # where nobody has named one


def after_adding(
    gallery: str,
    data: str | None = None,
    encoder: str | None = None,
    reports: Sequence[str] = (),
    max_loss: float | None = None,
    is_moved: bool = False,
) -> list[str]:
    """Returns what may follow new entries, or queries of another encoder that are let in.

    Args:
        gallery: Such as `file(people.gallery)`.
        data: The data set whose images are entries.
        encoder: What has embedded them; none where `embed` has.
        reports: Those that let queries in.
        max_loss: Whether the reports' verdict was asked, as `add` takes it.
        is_moved: Whether some entries were moved before.
    """
    if not reports:
        return [search(gallery, encoder or ENCODER, data)]
    report = read_report(reports[-1])
    given = given_of(report)
    admitted = route_of(report, max_loss)
    measured = measured_by(report.get("protocols", ()))
    if not data and measured:
        data = str(whole_of(measured))
    if admitted == MOVED and is_moved:
        return [search(gallery, given["new"], data)]
    if admitted == MOVED:
        flags = {"gallery": gallery, "adapter": given[MOVED], "new": given["new"]}
        return [" ".join(command_line("gallery move", flags))]
    new = given.get(admitted, ENCODER)
    flags = {"gallery": gallery, "encoder": new}
    if not is_stored(new):
        flags["data"] = data or DATA
    return [search(gallery, new, data), " ".join(command_line("gallery backfill", flags))]


def after_backfill(
    gallery: str, encoder: str, is_beside: bool, data: str | None = None
) -> list[str]:
    """Returns what may follow entries that are embedded anew.

    Args:
        gallery: Such as `file(people.gallery)`.
        encoder: What has embedded them.
        is_beside: Whether they lie beside those that are searched until the cut-over.
        data: The data set that has their images.
    """
    if is_beside:
        flags = {"gallery": gallery, "encoder": encoder}
        return [" ".join(command_line("gallery cut-over", flags))]
    return [search(gallery, encoder, data)]


def after_switch(gallery: str, encoder: str | None) -> list[str]:
    """Returns what may follow a move or a cut-over: a search, or all of it is taken back."""
    undo = " ".join(command_line("gallery restore", {"gallery": gallery}))
    return [search(gallery, encoder or ENCODER), undo]


def info(gallery: str) -> list[str]:
    """Returns the command that tells what a gallery holds now."""
    return [" ".join(command_line("gallery info", {"gallery": gallery}))]


def search(gallery: str, encoder: str, data: str | None = None) -> str:
    """Returns a search by an encoder.

    It is by an id where the encoder has stored embeddings alone, and by an image of the data set
    where that is known, so that it runs as it stands.
    """
    query = {"id": ID} if is_stored(encoder) else {"image": PHOTO}
    ident = None if is_stored(encoder) else some_id(data)
    if data and ident:
        query = {"data": data, "id": ident}
    return " ".join(
        command_line("gallery search", {"gallery": gallery, "encoder": encoder, **query})
    )


def some_id(data: str | None) -> str | None:
    """Returns the id of an image of a data set, of those held out where there are some."""
    folder = stores.place(data) if data else None
    if folder is None or stores.is_remote(folder):
        return None
    view = TEST if TEST in views_of(folder) else ""
    try:
        first = next(whole(open_data_set(folder / view).shards[0].here))
    except InputError:
        return None
    return first.id


def is_stored(encoder: str) -> bool:
    """Tells whether an encoder is a file of embeddings, without a network."""
    return encoder.endswith(".npz")


def read_report(path: str) -> dict[str, Any]:
    """Returns what a report says that was read before."""
    place = Path(path)
    return read_object(place / "report.json" if place.is_dir() else place)


def route_of(report: dict[str, Any], max_loss: float | None) -> str:
    """Returns the option by which `evaluate` was given the queries that are let in first."""
    routes = {test: name for name, test in TEST_OF.items()}
    for test, verdict in verdicts_of(report).items():
        if max_loss is not None or verdict in (COMPATIBLE, UNDECIDED):
            return "new" if test == NEW_OLD else routes[test]
    return "new"
