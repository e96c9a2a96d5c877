"""Measures whether queries of a new encoder can be searched in an old one's gallery, and how well.

bct evaluate --new=runs/mixbct --old=runs/old \\
    --protocol='retrieval(data/demo/test)' --out=reports/x

With --old or --new alone it is the self-test of that one. Several encoders at once, oldest first:
--encoders=runs/v1,runs/v2,runs/v3 searches the queries of each in its own gallery and in that of
each older one, and --encoders=runs/a,runs/b --gallery=runs/old judges them by that one gallery
alone.

Other routes to the old gallery beside new/old, each with a verdict of its own:
--adapted='adapted(runs/new, adapter.keras)', --fused='fused(runs/new, runs/old, weight=0.5)', and
--moved=adapter.keras, which moves the gallery to the new encoder.

Protocols:
  retrieval(DATA): the images of each identity of a data set are divided into
      gallery and query
  ijbc(DIR), ijbb(DIR): IJB-C or IJB-B with its folders meta and loose_crop;
      flip=False, normalise_first=True and detector_score=False give
      InsightFace's F0, N0 and D0
  pairs(FILE.bin): InsightFace's lfw.bin, cfp_fp.bin, agedb_30.bin and their
      like, in ten folds
  lfw(pairs.txt, images=DIR): the same from LFW's list and a folder of aligned
      images, DIR/Name/Name_0001.jpg
  listed(FILE.npz): items of any kind, whose encoders are stored embeddings; the
      file has their `ids` and `labels`. Without labels it is how many of the
      new encoder's own ten nearest neighbours are found

Writes report.json, report.html and each plot as PNG to --out. The verdict is `compatible` where
new/old is shown to be better than old/old by the metrics of --decide_by and none is shown to be
worse, `not compatible` where one is shown to be worse, and `undecided` where these identities are
too few to tell; then it says about how many would. Shown means that the gain's 95 % interval over
identities lies on one side of 0.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from bct_keras import command, specs, stores
from bct_keras.command import choices
from bct_keras.errors import InputError

if TYPE_CHECKING:
    from bct_keras.encoders import Encoder
    from bct_keras.engines import Engine
    from bct_keras.evaluate.routes import Routes
    from bct_keras.metrics.verdict import Rule

GROUPS = {
    "What matters most": ("new", "old", "protocol", "out", "decide_by"),
    "How it is judged": ("margin", "independent", "groups", "failures"),
    "Other routes to the old gallery": ("adapted", "fused", "moved"),
    "A series of encoders": ("encoders", "gallery"),
    "How the work is done": ("engine", "on_bad"),
}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string(
        "new",
        None,
        "the new encoder: a run's folder, a .keras file, a SavedModel or a .tflite file",
    )
    flags.DEFINE_string(
        "old",
        None,
        "the old encoder, likewise, or with its preprocessing: tflite(old.tflite, mean=127.5, "
        "std=128)",
    )
    flags.DEFINE_string(
        "independent",
        None,
        "the new network trained without constraint: gives update gain, tax and the baselines",
    )
    flags.DEFINE_string(
        "adapted",
        None,
        "a route: the new encoder behind an adapter new -> old, as `adapt` makes it",
    )
    flags.DEFINE_string(
        "fused",
        None,
        "a route: queries of both encoders, as in fused(runs/new, runs/old, weight=0.5)",
    )
    flags.DEFINE_string(
        "moved",
        None,
        "a route: an adapter old -> new that moves the gallery, the file or `adapt`'s folder",
    )
    flags.DEFINE_string(
        "encoders", "", "in place of --old and --new: a series of encoders, oldest first, by commas"
    )
    flags.DEFINE_string(
        "gallery",
        None,
        "with --encoders: the encoder older than all of them, whose gallery decides",
    )
    flags.DEFINE_multi_string(
        "protocol", None, "how to measure, as in retrieval(data/demo/test); may be given twice"
    )
    command.define_engine(parts=False)
    flags.DEFINE_string(
        "out", None, "the folder to make; embeddings are kept beside it, in `embeddings`"
    )
    define_verdict_flags()
    define_image_flags()


def define_image_flags() -> None:
    """Defines the flags of images that are no good, and of whose they are."""
    flags.DEFINE_enum(
        "on_bad",
        "fail",
        ["fail", "skip"],
        "what to do with an image of ijbc or ijbb that is no good",
    )
    flags.DEFINE_enum(
        "failures",
        "fail",
        ["fail", "count"],
        "what an image is that cannot be embedded, in retrieval and listed: an error, or a miss",
    )
    flags.DEFINE_string(
        "groups",
        None,
        "a CSV file headed `id,group` or `identity,group`: each group's rates at the threshold of "
        "all",
    )


def define_verdict_flags() -> None:
    """Defines the flags that `train` and `export` have too."""
    flags.DEFINE_list(
        "decide_by",
        [],
        "the metrics that have to be shown to be better, as in TAR@FAR=1e-3,top-1; by default TAR "
        "at the lowest FAR that the data can measure, and top-1",
    )
    flags.DEFINE_float(
        "margin",
        choices.MARGIN,
        "how much below the old encoder still counts as no worse",
        lower_bound=0.0,
    )


def rule_of_flags() -> "Rule":
    """Returns what the flags say a verdict goes by."""
    from bct_keras.metrics.verdict import Rule

    return Rule(
        decide_by=tuple(flags.FLAGS.decide_by),
        margin=flags.FLAGS.margin,
    )


def main() -> None:
    """Evaluates what the flags name, and prints the report."""
    FLAGS = flags.FLAGS
    out = stores.place(command.required("out"))
    command.required("protocol")
    command.loading()
    from bct_keras.evaluate.outcome import outcome

    of_series = bool(FLAGS.encoders or FLAGS.gallery)
    found = series_of_flags(out) if of_series else upgrade_of_flags(out)
    command.finish(outcome(found, out))


def series_of_flags(out: Path) -> dict[str, Any]:
    """Evaluates what --encoders and --gallery name."""
    from bct_keras.encoders import load_encoder
    from bct_keras.evaluate.run import evaluate_series

    FLAGS = flags.FLAGS
    if FLAGS.old or FLAGS.new or FLAGS.independent:
        raise InputError(
            "--encoders and --gallery stand in place of --old, --new and --independent"
        )
    if FLAGS.adapted or FLAGS.fused or FLAGS.moved:
        raise InputError("--adapted, --fused and --moved go with --old and --new")
    if FLAGS.groups or FLAGS.failures != "fail":
        raise InputError("--groups and --failures go with --old and --new")
    paths = specs.split_arguments(FLAGS.encoders, "--encoders")
    if FLAGS.gallery:
        paths = [FLAGS.gallery, *paths]
    return evaluate_series(
        [load_encoder(path) for path in paths],
        FLAGS.protocol,
        out,
        first_gallery_only=bool(FLAGS.gallery),
        on_bad=FLAGS.on_bad,
        rule=rule_of_flags(),
        say=command.say,
        engine=engine_of_flags(),
    )


def upgrade_of_flags(out: Path) -> dict[str, Any]:
    """Evaluates what --old, --new and --independent name, and the other routes."""
    from bct_keras.encoders import load_encoder
    from bct_keras.evaluate.groups import read_groups
    from bct_keras.evaluate.run import evaluate

    FLAGS = flags.FLAGS
    if not (FLAGS.new or FLAGS.old):
        raise InputError(
            "--new or --old is needed, or both, or --encoders; --help tells what they take"
        )
    paths = (FLAGS.old, FLAGS.new, FLAGS.independent)
    old, new, independent = (load_encoder(path) if path else None for path in paths)
    return evaluate(
        old,
        new,
        FLAGS.protocol,
        out,
        independent=independent,
        on_bad=FLAGS.on_bad,
        rule=rule_of_flags(),
        routes=routes_of_flags(old, new),
        say=command.say,
        engine=engine_of_flags(),
        failures=FLAGS.failures,
        groups=read_groups(stores.place(FLAGS.groups)) if FLAGS.groups else None,
    )


def engine_of_flags() -> "Engine | None":
    """Returns what --engine names; None, which is this process, for its default."""
    from bct_keras.engines import ENGINES

    named = flags.FLAGS.engine
    return None if named == "local" else specs.build(ENGINES, named)


def routes_of_flags(old: "Encoder | None", new: "Encoder | None") -> "Routes":
    """Returns the encoders that --adapted, --fused and --moved name."""
    from bct_keras.encoders import AdaptedEncoder, load_adapter, load_encoder
    from bct_keras.evaluate.routes import Routes

    FLAGS = flags.FLAGS
    moved = None
    if FLAGS.moved:
        if not old:
            raise InputError("--moved needs --old, whose gallery it moves, and --new")
        moved = AdaptedEncoder(old, load_adapter(FLAGS.moved), FLAGS.moved)
    return Routes(
        adapted=adapted_of_flag(new) if FLAGS.adapted else None,
        fused=load_encoder(FLAGS.fused) if FLAGS.fused else None,
        moved=moved,
    )


def adapted_of_flag(new: "Encoder | None") -> "Encoder":
    """Returns the encoder that --adapted names.

    A folder that `adapt` has made from stored embeddings has the map alone: the encoder is --new.
    """
    from bct_keras.encoders import AdaptedEncoder, is_adapter_alone, load_adapter, load_encoder

    given = stores.place(flags.FLAGS.adapted)
    if new and is_adapter_alone(given):
        return AdaptedEncoder(new, load_adapter(given), str(given))
    return load_encoder(str(given))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
