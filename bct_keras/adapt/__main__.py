"""Fits a small map between two encoders that both stay as they are, and proves it.

bct adapt --new=runs/independent --old=runs/old --data=data/demo/new \\
    --out=adapted

It takes seconds where a training takes days: the new encoder need not be trained for it. DIR has
then adapter.keras, encoder.keras (the new encoder with two outputs: `embedding` for new entries,
`embedding_compatible` to search the old gallery with) and report/. It is given wherever an encoder
is named.

--direction=gallery fits the other way round, old -> new: `gallery move --adapter=DIR` brings all
entries to the new encoder without an image.
--fuse adds the old embedding to each query. It costs both networks at query time. With --kind=none
it does so for a new encoder that was trained to be compatible.

Without --data both encoders are .npz files with `embeddings` [n, dims] and `ids` [n], and may have
`labels` [n]: texts, sounds or products are as good as images. A share of the identities is then
held out to prove on.
"""

from absl import flags

from bct_keras import command, stores
from bct_keras.command import choices
from bct_keras.evaluate.__main__ import define_verdict_flags, rule_of_flags

GROUPS = {
    "What matters most": ("new", "old", "data", "out", "direction"),
    "The map": ("kind", "pairs", "seed"),
    "Fused queries": ("fuse", "weigh_on"),
    "How it is judged": ("protocol", "decide_by", "margin"),
}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string(
        "new",
        None,
        "the new encoder: a run's folder, a .keras, .tflite or .onnx file, a SavedModel, or a .npz "
        "of embeddings and ids",
    )
    flags.DEFINE_string("old", None, "the old encoder, whose gallery there is, likewise")
    flags.DEFINE_string(
        "data", None, "the data set to fit on; the `test` beside it, if there is one, proves"
    )
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_enum(
        "direction",
        "query",
        choices.DIRECTIONS,
        "query: new embeddings become old ones, to search with; gallery: old entries become new",
    )
    flags.DEFINE_enum(
        "kind",
        "residual",
        choices.KINDS_OF_MAP,
        "the map: bct_keras/adapters/README.md",
    )
    flags.DEFINE_bool("fuse", False, "add the old embedding to each query")
    flags.DEFINE_multi_string(
        "weigh_on",
        [],
        "with --fuse: a data set of training identities that chooses the weight; by default the "
        "`validation` beside --data, or else --data and the `old` beside it",
    )
    flags.DEFINE_integer("pairs", choices.PAIRS, "the images to fit on, at most", lower_bound=2)
    flags.DEFINE_integer("seed", 0, "what is drawn goes by it")
    flags.DEFINE_multi_string(
        "protocol", None, "what proves it, as in retrieval(data/demo/test); `none` is no proof"
    )
    define_verdict_flags()


def main() -> None:
    """Adapts what the flags name, and prints the report."""
    command.loading()
    from bct_keras.adapt.plan import Plan
    from bct_keras.adapt.run import adapt
    from bct_keras.encoders import load_encoder
    from bct_keras.evaluate.outcome import outcome
    from bct_keras.progress import Outcome

    FLAGS = flags.FLAGS
    plan = Plan(
        data=FLAGS.data,
        direction=FLAGS.direction,
        kind=FLAGS.kind,
        fuse=FLAGS.fuse,
        weigh_on=tuple(FLAGS.weigh_on),
        pairs=FLAGS.pairs,
        seed=FLAGS.seed,
    )
    out = stores.place(command.required("out"))
    new = load_encoder(command.required("new"))
    old = load_encoder(command.required("old"))
    found = adapt(
        new, old, plan, out, protocols=FLAGS.protocol, rule=rule_of_flags(), say=command.say
    )
    if found:
        command.finish(outcome(found, out / "report", FLAGS.data, more={"out": out}))
    else:
        command.finish(Outcome(f"{out}: not proven", {"out": out}))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
