"""Makes a data set: images -> TFRecord shards and a manifest.

bct prepare --source='folder(photos)' --out=data/mine
bct prepare --source='synthetic(identities=500)' \\
    --split='class(test_share=0.2)' --out=data/demo

Sources: folder(PATH, image_size=112, group=TEXT), one sub-folder per identity, on this machine or
in a store (folder(s3://bucket/photos)), whose keys each process lists once; recordio(DIR,
image_size=0, decode=False), InsightFace's train.rec with its train.idx (or without: then the file
is searched) and property, which says the image size where it is 0; synthetic(identities=500,
images=20, image_size=32, seed=0), made by rule.

Splits: class(old_share=0.3, test_share=0, validation_share=0) gives the old encoder the first
identities and the new one the others; data(...), with the same shares, gives it the first images of
each identity. Either makes the views OUT/old, OUT/new, OUT/all, and, where their shares are not 0,
OUT/test with the last identities, for the proof, and OUT/validation with those before them, to
choose an epoch by. Either takes within=(0.25, 1) too: two shares of all identities, between which
those are that are used; groups are never cut.

A data set of millions takes minutes: the work is divided over the processes of --engine, and after
a kill the same command goes on where it was. Where a scheduler starts the same command on many
machines, each does a --part. Records are read in random order; where the disk is slow at that,
read a .rec file once before (cat train.rec > /dev/null). Images of a folder are decoded to see
whether they are whole; of the other sources only headers and ends are looked at, unless recordio is
given decode=True. --limit=1000 takes the first 1,000 images in file order, for a first try.

bct prepare --check=faces_ms1m

reads a data set or a RecordIO folder whole and reports images, identities, sizes, duplicates, and
what is broken and where, as far as headers and ends tell; the exit status is 0 where nothing is.
"""

from absl import flags

from bct_keras import command, specs, stores

GROUPS = {
    "What matters most": ("source", "out", "split", "check", "on_bad"),
    "A first try": ("limit",),
    "How the work is done": ("engine", "part", "seed"),
}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string("source", None, "where the images come from, as in folder(photos)")
    flags.DEFINE_string(
        "check", None, "instead of all else: a data set or RecordIO folder to read and report on"
    )
    flags.DEFINE_string("split", "none", "how they are divided: none, class(...) or data(...)")
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_integer(
        "seed", 0, "which record goes into which shard depends on this alone", lower_bound=0
    )
    flags.DEFINE_enum(
        "on_bad", "fail", ["fail", "skip"], "what to do with an image that cannot be used"
    )
    flags.DEFINE_integer(
        "limit", 0, "for a first try: only so many images, the first in file order", lower_bound=0
    )
    command.define_engine()


def main() -> None:
    """Makes a data set, or checks one."""
    from bct_keras.engines import ENGINES, local_processes, parse_part
    from bct_keras.prepare import check
    from bct_keras.prepare.run import prepare
    from bct_keras.prepare.telling import outcome
    from bct_keras.progress import Outcome

    FLAGS = flags.FLAGS
    engine = specs.build(ENGINES, FLAGS.engine)
    if FLAGS.check:
        check.check(
            stores.place(FLAGS.check), local_processes(engine, "prepare --check"), command.say
        )
        facts = {"check": FLAGS.check, "whole": True}
        command.finish(Outcome(f"{FLAGS.check}: nothing is broken", facts))
        return
    source = command.required("source")
    out = stores.place(command.required("out"))
    said = prepare(
        source,
        FLAGS.split,
        out,
        seed=FLAGS.seed,
        on_bad=FLAGS.on_bad,
        limit=FLAGS.limit,
        engine=engine,
        part=parse_part(FLAGS.part),
    )
    command.finish(outcome(said, out))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
