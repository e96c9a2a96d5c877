"""Says why a gallery takes a query or entries not, and what lets them in."""

from collections.abc import Sequence

from bct_keras.errors import InputError, option
from bct_keras.gallery.facts import KnownEncoder


def not_admitted(gallery: str, query: str, entries: KnownEncoder) -> InputError:
    """Returns the error of a query, by its encoder, that is not known to fit these entries."""
    old, new = option("old", "the entries'"), option("new", "the one given")
    return InputError(
        f"{gallery} holds entries of {entries}, and the encoder given ({query[:12]}) is "
        "not known to be compatible with it (a file exported from a run is another "
        "encoder than the run);",
        f"evaluate the two ({old} {new}) and declare the report: "
        f"gallery add {option('report', 'FOLDER')}",
    )


def none_together(
    gallery: str, encoder: KnownEncoder, others: Sequence[KnownEncoder]
) -> InputError:
    """Returns the error of entries that no query could be searched among with the others."""
    foreign = ", ".join(str(known) for known in others)
    return InputError(
        f"{gallery} holds entries of {foreign}, and no report says that "
        f"{encoder} goes with them: together no query could be searched;",
        f"evaluate the two and declare the report first: gallery add {option('report', 'FOLDER')}",
    )


def none_for_moved(gallery: str, moved: KnownEncoder, with_others: bool) -> InputError:
    """Returns the error of a move after which no query could be searched."""
    others = " and all others that are there" if with_others else ""
    old, new, route = option("old", "OLD"), option("new", "NEW"), option("moved", "ADAPTER")
    return InputError(
        f"{gallery}: no report says which queries fit entries of {moved}{others}:",
        f"evaluate {old} {new} {route} makes one; give it by {option('report', 'FOLDER')}",
    )


def not_calibrated(gallery: str, entries: KnownEncoder) -> InputError:
    """Returns the error of a query of two embeddings, whose cosines cannot be compared."""
    old, new = option("old", "OLD"), option("new", "NEW")
    protocol = option("protocol", "'retrieval(...)'")
    return InputError(
        f"{gallery} holds entries that this query searches by two embeddings, and no report says "
        f"what its cosines with those of {entries} stand for:",
        f"bct evaluate {old} {new} {protocol} measures it; then "
        f"gallery add {option('report', 'FOLDER')}",
    )
