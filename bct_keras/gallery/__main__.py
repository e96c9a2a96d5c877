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
from bct_keras.gallery import action_flags
from bct_keras.gallery.usage import SUMMARIES, usage_of
from bct_keras.progress import Outcome

FLAGS = flags.FLAGS


def add_by_flags() -> None:
    from bct_keras.gallery import following
    from bct_keras.gallery.run import add, is_moved

    gallery = command.required("gallery")
    add(
        gallery,
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
            gallery,
            FLAGS.data,
            FLAGS.encoder,
            reports=FLAGS.report,
            max_loss=FLAGS.max_loss,
            is_moved=bool(FLAGS.report) and is_moved(gallery),
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
        data=FLAGS.data,
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
        npm=FLAGS.npm,
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
    command.suggest(
        following.after_backfill(FLAGS.gallery, FLAGS.encoder, done.is_beside, FLAGS.data)
    )


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


class Action(NamedTuple):
    run: Callable[[], None]
    define_flags: Callable[[], None]
    as_json: bool = False


ACTIONS = {
    "add": Action(add_by_flags, action_flags.of_add),
    "search": Action(search_by_flags, action_flags.of_search, as_json=True),
    "backfill": Action(backfill_by_flags, action_flags.of_backfill),
    "cut-over": Action(cut_over_by_flags, action_flags.of_cut_over),
    "remove": Action(remove_by_flags, action_flags.of_remove),
    "move": Action(move_by_flags, action_flags.of_move),
    "restore": Action(restore_by_flags, lambda: None),
    "forget-originals": Action(forget_by_flags, lambda: None),
    "info": Action(info_by_flags, lambda: None, as_json=True),
    "bundle": Action(bundle_by_flags, action_flags.of_bundle),
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
