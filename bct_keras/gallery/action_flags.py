"""Defines the flags of each action of the gallery."""

from absl import flags

from bct_keras import command


def of_add() -> None:
    """Defines the flags of an addition."""
    flags.DEFINE_string("data", None, "the data set whose images are to be entries")
    flags.DEFINE_string(
        "encoder",
        None,
        "embeds them: a run's folder, a .keras, .tflite or .onnx file, a SavedModel, or a .npz of "
        "embeddings and ids, all of which are added where there is no --data",
    )
    define_made_by()
    flags.DEFINE_string("embeddings", None, "or their embeddings as `embed` made them")
    of_reports()


def of_reports() -> None:
    """Defines the flags of the reports that let queries in."""
    flags.DEFINE_multi_string(
        "report",
        [],
        "a report of evaluate: queries of its new encoder, and of its routes, fit entries of its "
        "old one; may be given twice",
    )
    flags.DEFINE_bool("strict", False, "refuse a report whose verdict is undecided, too")
    flags.DEFINE_float(
        "max_loss",
        None,
        "take a report whose cross-test is not above old/old but below it by at most this share, "
        "as of a file exported from the very encoder that made the entries",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def of_move() -> None:
    """Defines the flags of a move."""
    flags.DEFINE_string(
        "adapter",
        None,
        "old -> new: a folder that `adapt --direction=gallery` has made, or its .keras file",
    )
    flags.DEFINE_string(
        "new", None, "the new encoder: refuse unless its queries fit entries that are moved"
    )
    of_reports()


def of_search() -> None:
    """Defines the flags of a search."""
    flags.DEFINE_string(
        "encoder",
        None,
        "of the query: a run's folder, a .keras, .tflite or .onnx file, a SavedModel, or a .npz of "
        "embeddings and ids",
    )
    define_made_by()
    flags.DEFINE_multi_string(
        "id",
        [],
        "of a stored embedding to search by, or of an image of --data, in place of a photo; may be "
        "given twice",
    )
    flags.DEFINE_string("data", None, "with --id: the data set that has the image")
    flags.DEFINE_multi_string("image", None, "a photo to search by; may be given twice")
    flags.DEFINE_integer("top", 5, "how many matches to list", lower_bound=1)
    flags.DEFINE_multi_string(
        "only_label",
        [],
        "search among entries with this label, and no others; may be given twice",
    )
    define_far("say `match` or `no match` where this share of false accepts may be, such as 1e-3")


def of_bundle() -> None:
    """Defines the flags of a bundle."""
    flags.DEFINE_string("encoder", None, "the .tflite file that the device is to embed photos by")
    flags.DEFINE_string("out", None, "the folder to make")
    define_far("the share of false accepts at which the page says `match` at first")
    flags.DEFINE_string(
        "page", None, "the folder of the page; export/edge/web as it comes with bct if not given"
    )
    flags.DEFINE_string(
        "npm",
        None,
        "the folder in which npm has installed LiteRT.js; that of the page, or else the working "
        "folder, if not given",
    )


def define_far(text: str) -> None:
    """Defines --far.

    Args:
        text: What it does in this action.
    """
    flags.DEFINE_float(
        "far",
        None,
        f"{text}; a report that lets the queries in has to say what cosines stand for",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def of_backfill() -> None:
    """Defines the flags of a backfill."""
    flags.DEFINE_string(
        "encoder", None, "the encoder to embed with, or a .npz of embeddings and ids"
    )
    define_made_by()
    flags.DEFINE_string(
        "data", None, "the data set that holds the entries' images, by their ids; none with a .npz"
    )
    flags.DEFINE_string(
        "order",
        "stored",
        "which of all come first: stored, by_label, random(seed=0), farthest from the mean of "
        "their label, or those of listed(FILE), a file of ids",
    )
    flags.DEFINE_string(
        "embeddings",
        None,
        "with --data: what `embed` has made of it, by any engine and in any parts",
    )
    command.define_engine(parts=False)


def of_cut_over() -> None:
    """Defines the flags of a cut-over."""
    flags.DEFINE_string(
        "encoder", None, "whose embeddings to search; needed where those of several lie beside"
    )


def define_made_by() -> None:
    """Defines --made_by."""
    flags.DEFINE_string(
        "made_by",
        None,
        "the encoder that has made the .npz, as the gallery knows it; by default the .npz itself",
    )


def of_remove() -> None:
    """Defines the flags of a removal."""
    flags.DEFINE_multi_string("id", [], "of an entry to remove; may be given twice")
    flags.DEFINE_string("ids_file", None, "a text file of ids to remove, one a line")
    flags.DEFINE_multi_string(
        "label", [], "of entries to remove: a person's, as a search prints it; may be given twice"
    )
