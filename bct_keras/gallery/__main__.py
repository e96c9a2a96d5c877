"""A gallery of old and new embeddings, searched by any encoder known to be compatible with them.

Galleries: file(PATH), one file that a device reads as it is, or milvus(URI, collection=gallery).
Every entry knows the encoder that made it. A query is refused unless its encoder made all entries
or reports of `evaluate` say that it is compatible with those that did.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags

from bct_keras import command, specs
from bct_keras.gallery.usage import SUMMARIES, usage_of
from bct_keras.progress import Outcome

FLAGS = flags.FLAGS


def add_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import add

    add(
        command.required("gallery"),
        data=FLAGS.data,
        encoder=FLAGS.encoder,
        embeddings=FLAGS.embeddings,
        reports=FLAGS.report,
        max_loss=FLAGS.max_loss,
        strict=FLAGS.strict,
        made_by=FLAGS.made_by,
        say=command.say,
    )
    command.suggest(
        following.after_adding(
            FLAGS.gallery, FLAGS.data, FLAGS.encoder, FLAGS.report, FLAGS.max_loss
        )
    )


def search_by_flags() -> None:
    from bct_keras.gallery.run import search

    found = search(
        command.required("gallery"),
        encoder=command.required("encoder"),
        photos=FLAGS.image or [],
        top=FLAGS.top,
        ids=FLAGS.id,
        made_by=FLAGS.made_by,
        far=FLAGS.far,
        only_labels=FLAGS.only_label,
    )
    text = "\n".join(str(each) for each in found)
    command.finish(Outcome(text, {"queries": [each.facts() for each in found]}))


def bundle_by_flags() -> None:
    from bct_keras.gallery.run import bundle

    bundle(
        command.required("gallery"),
        encoder=command.required("encoder"),
        out=Path(command.required("out")),
        far=FLAGS.far,
        page=FLAGS.page,
        say=command.say,
    )


def backfill_by_flags() -> None:
    from bct_keras.engines import ENGINES
    from bct_keras.gallery import following
    from bct_keras.gallery.run import backfill

    done = backfill(
        command.required("gallery"),
        encoder=command.required("encoder"),
        data=FLAGS.data,
        order=FLAGS.order,
        made_by=FLAGS.made_by,
        say=command.say,
        embeddings=FLAGS.embeddings,
        engine=None if FLAGS.engine == "local" else specs.build(ENGINES, FLAGS.engine),
    )
    command.suggest(following.after_backfill(FLAGS.gallery, FLAGS.encoder, done.is_beside))


def cut_over_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import cut_over

    cut_over(command.required("gallery"), encoder=FLAGS.encoder, say=command.say)
    command.suggest(following.after_switch(FLAGS.gallery, FLAGS.encoder))


def remove_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import remove

    remove(
        command.required("gallery"),
        ids=FLAGS.id,
        labels=FLAGS.label,
        ids_file=FLAGS.ids_file,
        say=command.say,
    )
    command.suggest(following.info(FLAGS.gallery))


def move_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import move

    move(
        command.required("gallery"),
        adapter=command.required("adapter"),
        new=FLAGS.new,
        reports=FLAGS.report,
        max_loss=FLAGS.max_loss,
        strict=FLAGS.strict,
        say=command.say,
    )
    command.suggest(following.after_switch(FLAGS.gallery, FLAGS.new))


def restore_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import restore

    restore(command.required("gallery"), say=command.say)
    command.suggest(following.info(FLAGS.gallery))


def forget_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import forget_originals

    forget_originals(command.required("gallery"), say=command.say)
    command.suggest(following.info(FLAGS.gallery))


def info_by_flags() -> None:
    from bct_keras.gallery.run import info

    lines: list[str] = []
    found = info(command.required("gallery"), say=lines.append)
    command.finish(Outcome("\n".join(lines), found.facts()))


def define_add_flags() -> None:
    flags.DEFINE_string("data", None, "the data set whose images are to be entries")
    flags.DEFINE_string(
        "encoder",
        None,
        "embeds them: a run's folder, a .keras, .tflite or .onnx file, a SavedModel, or a .npz of "
        "embeddings and ids, all of which are added where there is no --data",
    )
    define_made_by()
    flags.DEFINE_string("embeddings", None, "or their embeddings as `embed` made them")
    define_report_flags()


def define_report_flags() -> None:
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


def define_move_flags() -> None:
    flags.DEFINE_string(
        "adapter",
        None,
        "old -> new: a folder that `adapt --direction=gallery` has made, or its .keras file",
    )
    flags.DEFINE_string(
        "new", None, "the new encoder: refuse unless its queries fit entries that are moved"
    )
    define_report_flags()


def define_search_flags() -> None:
    flags.DEFINE_string(
        "encoder",
        None,
        "of the query: a run's folder, a .keras, .tflite or .onnx file, a SavedModel, or a .npz of "
        "embeddings and ids",
    )
    define_made_by()
    flags.DEFINE_multi_string(
        "id", [], "of a stored embedding to search by, in place of a photo; may be given twice"
    )
    flags.DEFINE_multi_string("image", None, "a photo to search by; may be given twice")
    flags.DEFINE_integer("top", 5, "how many matches to list", lower_bound=1)
    flags.DEFINE_multi_string(
        "only_label",
        [],
        "search among entries with this label, and no others; may be given twice",
    )
    define_far("say `match` or `no match` where this share of false accepts may be, such as 1e-3")


def define_bundle_flags() -> None:
    flags.DEFINE_string("encoder", None, "the .tflite file that the device is to embed photos by")
    flags.DEFINE_string("out", None, "the folder to make")
    define_far("the share of false accepts at which the page says `match` at first")
    flags.DEFINE_string(
        "page", None, "the folder of the page; export/edge/web as it comes with bct if not given"
    )


def define_far(text: str) -> None:
    flags.DEFINE_float(
        "far",
        None,
        f"{text}; a report that lets the queries in has to say what cosines stand for",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def define_backfill_flags() -> None:
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
        "which first: stored, by_label, random(seed=0), farthest from the mean of their label, or "
        "listed(FILE) of ids",
    )
    flags.DEFINE_string(
        "embeddings",
        None,
        "with --data: what `embed` has made of it, by any engine and in any parts",
    )
    command.define_engine(parts=False)


def define_cut_over_flags() -> None:
    flags.DEFINE_string(
        "encoder", None, "whose embeddings to search; needed where those of several lie beside"
    )


def define_made_by() -> None:
    flags.DEFINE_string(
        "made_by",
        None,
        "the encoder that has made the .npz, as the gallery knows it; by default the .npz itself",
    )


def define_remove_flags() -> None:
    flags.DEFINE_multi_string("id", [], "of an entry to remove; may be given twice")
    flags.DEFINE_string("ids_file", None, "a text file of ids to remove, one a line")
    flags.DEFINE_multi_string(
        "label", [], "of entries to remove: a person's, as a search prints it; may be given twice"
    )


class Action(NamedTuple):
    run: Callable[[], None]
    define_flags: Callable[[], None]
    as_json: bool = False


ACTIONS = {
    "add": Action(add_by_flags, define_add_flags),
    "search": Action(search_by_flags, define_search_flags, as_json=True),
    "backfill": Action(backfill_by_flags, define_backfill_flags),
    "cut-over": Action(cut_over_by_flags, define_cut_over_flags),
    "remove": Action(remove_by_flags, define_remove_flags),
    "move": Action(move_by_flags, define_move_flags),
    "restore": Action(restore_by_flags, lambda: None),
    "forget-originals": Action(forget_by_flags, lambda: None),
    "info": Action(info_by_flags, lambda: None, as_json=True),
    "bundle": Action(bundle_by_flags, define_bundle_flags),
}


def run(arguments: list[str]) -> None:
    """Runs the action that stands after the program's name; `arguments` are those of sys.argv."""
    name = arguments[1] if len(arguments) > 1 else "--help"
    if name in command.HELP:
        command.show(command.with_choices(__doc__ or "", "Actions, each with --help", SUMMARIES))
        return
    if name not in ACTIONS:
        command.fail_to_choose("action", name, ACTIONS)
    action = ACTIONS[arguments.pop(1)]
    known = set(FLAGS)
    flags.DEFINE_string("gallery", None, "file(PATH), or milvus(URI, collection=gallery)")
    action.define_flags()
    defined = [flag for flag in FLAGS if flag not in known]
    command.run(action.run, usage_of(name), {"Flags": defined}, action.as_json)


if __name__ == "__main__":
    run(sys.argv)
