"""Trains and compares methods: scenarios x old encoders x methods x seeds, and one report of all.

bct benchmark --flagfile=configs/benchmark.flags
bct benchmark --flagfile=configs/benchmark.flags \\
    --source='folder(photos, image_size=64)' --workdir=benchmarks/mine

What all trainings share is given by the flags of train (bct train --help):
--source, --split with its shares, --backbone, --head, --epochs and so on. What is compared, each
given as often as wanted:

  --old='weak: --backbone=iresnet_small(width=8) --head=softmax --dims=32'
      a name, and the flags that differ
  --old='mine: old.keras'
      or an encoder that is there
  --method='mixbct(mix_ratio=0.3)'
      as train takes it
  --method='wide: mixbct --dims=128 --compatible_dims=64'
      with a name and flags of its own
  --route='moved: moved(independent)'
      what needs no training of its own: adapted(METHOD), its queries behind an
      adapter new -> old; fused(METHOD), its queries fused with the old
      embedding; moved(METHOD), the old gallery behind an adapter old -> new;
      fused(adapted(METHOD)); adapted and moved take adapter=residual, linear,
      procrustes
  --scenario=open-class,extended-data
      which images are whose
  --seeds=0,1,2

A new encoder has its old one's dimensions. The same network without constraint (independent) is
always among the methods: gain, tax and cost are told against it. Each old encoder is trained once
for all that need it, and a run that is there is not trained again: after a kill, or with another
method, the same command does what is missing, and --jobs of it at once. A cell that fails is named
in the report, the others go on, and the exit status is 1.

With --tune=8 every method is tuned alike first: eight settings of each, the one that is written and
seven drawn from the ranges that the method declares, are trained on the first --tune_share=0.25 of
the identities (groups are kept whole), in the first scenario, with a seed that is none of --seeds.
The table then has the best setting of each, on the other identities. The report shows all of it.

Leaves WORKDIR/report with report.html, report.md, report.json and plots, and the runs in
WORKDIR/runs, each with its flags.txt, to be evaluated, exported or looked at like any other.
"""

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from bct_keras import command
from bct_keras.command import choices
from bct_keras.errors import InputError
from bct_keras.train import __main__ as train
from bct_keras.train.flag_groups import GROUPS as GROUPS_OF_TRAIN

if TYPE_CHECKING:
    from bct_keras.benchmark.plan import Options
    from bct_keras.benchmark.run import Comparison

# Set for each training here, or of no use to it.
OWN = (
    "data",
    "old",
    "workdir",
    "method",
    "scenario",
    "seed",
    "formats",
    "protocol",
    "source",
    "split",
    "prepared",
    "on_bad",
    "old_flagfile",
    "old_workdir",
    "dry_run",
)
OVERRIDE: Any = {"allow_override": True}  # train has flags of these names, for one training
REFUSED = {
    "data": "a benchmark takes --source",
    "seed": "a benchmark takes --seeds",
    "validation": "a benchmark measures at the end, by --protocol",
    "keep_best": "a benchmark keeps the last epoch of each",
    "dry_run": "give it to train",
}
TOLD = ("source", "split", "scenario", "old", "method", "seeds")  # by the report

GROUPS = {
    "What matters most": ("old", "method", "source", "workdir", "seeds"),
    "What is compared": ("scenario", "split", "route", "protocol", "metric"),
    "Settings tried first": ("tune", "tune_share"),
    "How the work is done": ("jobs", "on_bad"),
}


def groups() -> dict[str, list[str]]:
    """Returns what `--help` lists: the flags of this command, then those of its trainings."""
    found = {title: list(names) for title, names in GROUPS.items()}
    own = {name for names in GROUPS.values() for name in names}
    for title, names in GROUPS_OF_TRAIN.items():
        others = [name for name in names if name not in {*own, *OWN, *REFUSED}]
        if others:
            found[f"Each training: {title[0].lower()}{title[1:]}"] = others
    return found


def main() -> None:
    command.loading()
    from bct_keras.benchmark.jobs import StoppedError
    from bct_keras.benchmark.run import benchmark
    from bct_keras.callbacks.checkpoints import RESUME_STATUS

    comparison = comparison_of_flags()
    try:
        benchmark(comparison, command.say, command.finish)
    except StoppedError as stopped:
        print(stopped)
        sys.exit(RESUME_STATUS)


def comparison_of_flags() -> "Comparison":
    """Returns what the command line asks for."""
    from bct_keras.benchmark.plan import parse_entries
    from bct_keras.benchmark.run import Comparison

    FLAGS = flags.FLAGS
    for name, other in REFUSED.items():
        if FLAGS[name].present:
            raise InputError(f"--{name} is for one training; {other}")
    return Comparison(
        workdir=Path(command.required("workdir")),
        shared=shared_options(),
        olds=parse_entries("old", command.required("old"), values_of),
        methods=parse_entries("method", command.required("method"), values_of),
        routes=parse_entries("route", FLAGS.route, values_of),
        scenarios=FLAGS.scenario,
        seeds=[number(text) for text in FLAGS.seeds],
        source=command.required("source"),
        split=FLAGS.split,
        on_bad=FLAGS.on_bad,
        protocol=FLAGS.protocol,
        metric=FLAGS.metric,
        metric_is_asked_for=bool(FLAGS["metric"].present),
        jobs=FLAGS.jobs,
        tune=FLAGS.tune,
        tune_share=FLAGS.tune_share,
        told=told(),
    )


def told() -> dict[str, Any]:
    """Returns the flags that the report names."""
    FLAGS = flags.FLAGS
    names = [*TOLD]
    if FLAGS.route:
        names.append("route")
    if FLAGS.tune:
        names += ["tune", "tune_share"]
    return {f"--{name}": FLAGS[name].value for name in names}


def number(text: str) -> int:
    """Returns the seed that a text stands for."""
    if not text.isdecimal():
        raise InputError(f"--seeds={text}: whole numbers are needed, as in --seeds=0,1,2")
    return int(text)


def train_flags() -> dict[str, flags.Flag]:
    """Returns the flags that train defines, by name."""
    by_module = flags.FLAGS.flags_by_module_dict()
    found = {}
    for flag in by_module[train.__name__]:
        found[flag.name] = flag
    return found


def shared_options() -> "Options":
    """Returns the options of every training: train's flags as given here, or their defaults."""
    from bct_keras.benchmark.plan import Options

    written = []
    values = {}
    for name, flag in train_flags().items():
        values[name] = flag.value
        if name in OWN or not flag.present:
            continue
        text = flag.serialize()
        if text:
            written.append(text)
    return Options(tuple(sorted(written)), values)


def values_of(written: Sequence[str]) -> dict[str, Any]:
    """Returns the values of train's flags that stand in an entry, such as `--dims=32`."""
    known = train_flags()
    for name in OWN:  # a flag file may hold those
        known[name] = flags.FLAGS[name]
    entry = flags.FlagValues()
    for name, flag in known.items():
        entry[name] = copy.deepcopy(flag)
        entry[name].unparse()  # what was given here is not the entry's
    try:
        entry([train.__name__, *written])
    except flags.Error as error:
        raise InputError(f"{' '.join(written)}: {error}") from None
    values = {}
    for name in known:
        if entry[name].present:
            values[name] = entry[name].value
    return values


def define_flags() -> None:
    train.define_flags()
    flags.DEFINE_multi_string(
        "old", None, "an old encoder, 'NAME: --flag=value ...' or 'NAME: PATH'", **OVERRIDE
    )
    flags.DEFINE_multi_string(
        "method", None, "a method, 'SPEC' or 'NAME: SPEC --flag=value ...'", **OVERRIDE
    )
    flags.DEFINE_multi_string(
        "route", [], "a row made of a method's networks, 'ROUTE(METHOD)' or 'NAME: ROUTE(METHOD)'"
    )
    flags.DEFINE_list(
        "scenario",
        ["open-class"],
        f"of {', '.join(choices.SCENARIOS_OF_BENCHMARK)}: which images are whose",
        **OVERRIDE,
    )
    flags.DEFINE_string("workdir", None, "the folder for data, runs and the report", **OVERRIDE)
    flags.DEFINE_string(
        "protocol",
        None,
        "how to measure; by default retrieval on the split's test view",
        **OVERRIDE,
    )
    flags.DEFINE_list("seeds", ["0", "1"], "each trains old and new encoders once")
    flags.DEFINE_string(
        "metric", "TAR@FAR=1e-3", "that of the tables and the ranking; report.json has all"
    )
    flags.DEFINE_integer(
        "tune",
        0,
        "so many settings of each method are tried first, on identities of their own; 0: none",
        lower_bound=0,
    )
    flags.DEFINE_float("tune_share", 0.25, "of the identities: those that --tune takes")
    flags.DEFINE_integer(
        "jobs", 0, "trainings at once; 0 is one for every two cores", lower_bound=0
    )


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", groups(), as_json=True)
