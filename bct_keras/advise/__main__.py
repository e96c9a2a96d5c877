"""Says which route from a new encoder to an old gallery to take, and what it costs.

bct advise --old=runs/old --new=runs/independent --trained=runs/mixbct \\
    --data=data/demo/new --gallery_size=50e6 --queries_per_day=1e6 --out=advice

It compares: keep the old encoder; each encoder that was trained to be compatible (--trained);
queries of the new one behind a map new -> old; queries fused with the old embedding; the gallery
moved by a map old -> new; and the whole gallery embedded anew, which is the upper bound. Maps are
fitted here on --data, as `adapt` fits them, and everything is measured on identities that nothing
was fitted on. The first line says what to do. Nothing is recommended that is not shown to be better
than the old encoder.

Writes report.html, one page, report.json and a folder for each map to --out. Without --data all
encoders are .npz files with `embeddings` [n, dims], `ids` [n] and, in one of them, `labels` [n].
"""

import sys

from absl import flags

from bct_keras import command, progress, stores
from bct_keras.command import choices
from bct_keras.errors import InputError
from bct_keras.evaluate.__main__ import define_verdict_flags, rule_of_flags

GROUPS = {
    "What matters most": ("old", "new", "data", "gallery_size", "queries_per_day"),
    "What is compared and written": ("trained", "out"),
    "What it costs": ("nodes", "cost_per_gpu_hour"),
    "The maps": ("kind", "pairs", "weigh_on", "seed"),
    "How it is judged": ("protocol", "decide_by", "margin"),
}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string(
        "old",
        None,
        "the old encoder, whose gallery there is: a run's folder, a .keras, .tflite or .onnx file, "
        "a SavedModel, or a .npz of embeddings and ids",
    )
    flags.DEFINE_string("new", None, "the new encoder, trained without constraint, likewise")
    flags.DEFINE_multi_string(
        "trained", [], "an encoder that was trained to be compatible; may be given twice"
    )
    flags.DEFINE_string(
        "data", None, "the data set to fit on; the `test` beside it, if there is one, measures"
    )
    flags.DEFINE_string("out", None, "the folder to make")
    flags.DEFINE_float("gallery_size", None, "the entries of your gallery, as in 50e6")
    flags.DEFINE_float("queries_per_day", None, "the searches in it")
    flags.DEFINE_integer(
        "nodes",
        1,
        "machines like this one that would embed the gallery anew",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "cost_per_gpu_hour",
        None,
        "what an hour of a machine like this one costs; tells money too",
        lower_bound=0.0,
    )
    flags.DEFINE_enum(
        "kind", "residual", choices.ADAPTERS, "the maps: bct_keras/adapters/README.md"
    )
    flags.DEFINE_multi_string(
        "weigh_on",
        [],
        "a data set of training identities that chooses the weight of fused queries; by default "
        "the `validation` beside --data, or else --data and the `old` beside it",
    )
    flags.DEFINE_integer("pairs", choices.PAIRS, "the images to fit on, at most", lower_bound=2)
    flags.DEFINE_integer("seed", 0, "what is drawn goes by it")
    flags.DEFINE_multi_string(
        "protocol", None, "what to measure by, as in retrieval(data/demo/test)"
    )
    define_verdict_flags()


def main() -> None:
    """Advises on what the flags name; the first line of the output is the decision."""
    check_given("old", "new", "gallery_size", "queries_per_day", "out")
    command.loading()
    from bct_keras.advise import tables
    from bct_keras.advise.plan import Plan
    from bct_keras.advise.run import PAGE, advise
    from bct_keras.encoders import load_encoder
    from bct_keras.progress import Outcome

    FLAGS = flags.FLAGS
    out = stores.place(command.required("out"))
    old, new = load_encoder(command.required("old")), load_encoder(command.required("new"))
    plan = Plan(
        gallery_size=FLAGS.gallery_size,
        queries_per_day=FLAGS.queries_per_day,
        nodes=FLAGS.nodes,
        cost_per_gpu_hour=FLAGS.cost_per_gpu_hour,
        data=FLAGS.data,
        kind=FLAGS.kind,
        weigh_on=tuple(FLAGS.weigh_on),
        pairs=FLAGS.pairs,
        seed=FLAGS.seed,
    )
    trained = [load_encoder(path) for path in FLAGS.trained]
    found = advise(
        old, new, trained, plan, out, protocols=FLAGS.protocol, rule=rule_of_flags(), say=told
    )
    text = f"{tables.as_text(found)}\nreport: {out / PAGE}"
    command.finish(Outcome(text, {**found, "report": out}, tables.commands(found)))


def check_given(*names: str) -> None:
    """Raises where flags are missing, and names all of them; 0 is a value."""
    missing = []
    for name in names:
        if flags.FLAGS[name].value in (None, ""):
            missing.append(f"--{name}")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{', '.join(missing)} {verb} needed; --help tells what they take")


def told(text: str) -> None:
    """Prints what is being done apart from the advice, whose first line is the decision."""
    if not progress.is_quiet():
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
