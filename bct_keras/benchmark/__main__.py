"""Trains and compares methods: scenarios x old encoders x methods x seeds, and one report of all.

python -m bct_keras.benchmark --flagfile=configs/benchmark.flags
python -m bct_keras.benchmark --flagfile=configs/benchmark.flags \\
    --source='folder(photos, image_size=64)' --workdir=benchmarks/mine

What all trainings share is given by the flags of train (python -m bct_keras.train --help):
--source, --split with its shares, --backbone, --head, --epochs and so on. What is compared, each
given as often as wanted:

  --old='weak: --backbone=iresnet_small(width=8) --head=softmax --dims=32'
                                      a name, and the flags that differ
  --old='mine: old.keras'             or an encoder that is there
  --method='mixbct(mix_ratio=0.3)'    as train takes it
  --method='wide: mixbct --dims=128 --compatible_dims=64'
                                      with a name and flags of its own
  --scenario=open-class,extended-data which images are whose
  --seeds=0,1,2

A new encoder has its old one's dimensions. The same network without constraint (independent) is
always among the methods: gain, tax and cost are told against it. Each old encoder is trained once
for all that need it, and a run that is there is not trained again: after a kill, or with another
method, the same command does what is missing, and --jobs of it at once. A cell that fails is named
in the report, the others go on, and the exit status is 1.

Leaves WORKDIR/report with report.html, report.md, report.json and plots, and the runs in
WORKDIR/runs, each with its flags.txt, to be evaluated, exported or looked at like any other.
"""

import contextlib
import copy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from bct_keras import artefacts, command, specs
from bct_keras.benchmark import report, spreads, tables
from bct_keras.benchmark.jobs import Runner, StoppedError
from bct_keras.benchmark.measuring import Measuring
from bct_keras.benchmark.plan import (
    CUTS,
    REFERENCE,
    SCENARIOS,
    Cell,
    Cut,
    Job,
    Options,
    Plan,
    parse_entries,
    with_reference,
)
from bct_keras.callbacks.checkpoints import RESUME_STATUS
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError
from bct_keras.evaluate.report import aligned
from bct_keras.prepare.run import prepare
from bct_keras.processes import cores
from bct_keras.train import __main__ as train
from bct_keras.train import proof

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
)
OWN += ("on_bad", "old_flagfile", "old_workdir", "dry_run")
OVERRIDE: Any = {"allow_override": True}  # train has flags of these names, for one training
REFUSED = {
    "data": "a benchmark takes --source",
    "seed": "a benchmark takes --seeds",
    "validation": "a benchmark measures at the end, by --protocol",
    "keep_best": "a benchmark keeps the last epoch of each",
    "dry_run": "give it to train",
}


def main() -> None:
    FLAGS = flags.FLAGS
    for name, other in REFUSED.items():
        if FLAGS[name].present:
            raise InputError(f"--{name} is for one training; {other}")
    workdir = Path(command.required("workdir"))
    artefacts.check_place(workdir / "report", report.KIND)
    # Trainings hold the lock too, so that those of a killed benchmark are waited for, not doubled.
    with artefacts.alone(
        workdir, "what another benchmark, perhaps a killed one, is still training"
    ) as lock:
        plan = planned(workdir)
        protocols = {name: protocol_of(cut.folder) for name, cut in plan.data.items()}
        measuring = Measuring(workdir / "embeddings")

        def measure(cell: Cell) -> dict[str, Any]:
            _, cut = SCENARIOS[cell.scenario]
            return measuring.measure(cell, protocols[cut])

        jobs, at_once = list(plan.jobs.values()), FLAGS.jobs or max(1, cores() // 2)
        runner = Runner(jobs, at_once, workdir / "logs", lock)
        counts = (
            f"{len(plan.cells)} cells, {len(jobs)} trainings, of which {runner.total} are missing"
        )
        command.say(counts)
        try:
            failed = runner.run(Progress(runner.total, measure, plan.cells))
            results, missing = collected(plan, measure, failed)
        except StoppedError as stopped:
            print(stopped)
            sys.exit(RESUME_STATUS)
        tell(plan, results, missing, workdir / "report")
    if missing:
        first = next(iter(missing))
        raise InputError(
            f"{len(missing)} of {len(plan.cells)} cells failed, the report names them: {first}"
        )


def planned(workdir: Path) -> Plan:
    """Returns all of it, checked before any work but the making of the data."""
    FLAGS = flags.FLAGS
    shared = shared_options()
    olds = parse_entries("old", command.required("old"), values_of)
    methods = parse_entries("method", command.required("method"), values_of)
    methods = with_reference(methods)
    seeds = [number(text) for text in FLAGS.seeds]
    for name in FLAGS.scenario:
        if name not in SCENARIOS:
            raise InputError(f"unknown scenario '{name}'; known: {', '.join(SCENARIOS)}")
    # A typo is told before the data are made.
    for entry in olds:
        (shared + entry.options).recipe(REFERENCE)
    for entry in methods:
        (shared + entry.options).recipe(entry.spec)
    cuts = {SCENARIOS[name][1] for name in FLAGS.scenario}
    data = {cut: prepared(cut, workdir / "data" / cut) for cut in CUTS if cut in cuts}
    plan = Plan(workdir, shared, data)
    plan.add(FLAGS.scenario, olds, methods, seeds)
    return plan


def number(text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"--seeds={text}: whole numbers are needed, as in --seeds=0,1,2")
    return int(text)


def train_flags() -> dict[str, flags.Flag]:
    """Returns the flags that train defines, by name."""
    defined = flags.FLAGS.flags_by_module_dict()[train.__name__]
    return {flag.name: flag for flag in defined}


def shared_options() -> Options:
    """Returns the options of every training: those of train's flags that were given here, and
    defaults.
    """
    written, values = [], {}
    for name, flag in train_flags().items():
        values[name] = flag.value
        if flag.present and name not in OWN and flag.serialize():
            written.append(flag.serialize())
    return Options(tuple(sorted(written)), values)


def values_of(written: Sequence[str]) -> dict[str, Any]:
    """Returns the values of train's flags that stand in an entry, such as `--dims=32`."""
    entry = flags.FlagValues()
    known = train_flags() | {name: flags.FLAGS[name] for name in OWN}  # a flag file may hold those
    for name, flag in known.items():
        entry[name] = copy.deepcopy(flag)
        entry[name].unparse()  # what was given here is not the entry's
    try:
        entry([train.__name__, *written])
    except flags.Error as error:
        raise InputError(f"{' '.join(written)}: {error}") from None
    return {name: entry[name].value for name in known if entry[name].present}


def prepared(cut: str, folder: Path) -> Cut:
    """Makes the data set of a class or data split."""
    FLAGS = flags.FLAGS
    _, positional, keywords = specs.parse(FLAGS.split)
    arguments = [*positional, *(f"{key}={value}" for key, value in keywords.items())]
    split = f"{cut}({', '.join(arguments)})"
    command.say(prepare(command.required("source"), split, folder, on_bad=FLAGS.on_bad))
    return Cut(folder, open_data_set(folder).fingerprint)


def protocol_of(data: Path) -> str:
    """Returns how the cells of a data set are measured."""
    FLAGS = flags.FLAGS
    found = [FLAGS.protocol] if FLAGS.protocol else proof.test_protocol(open_data_set(data / "new"))
    if not found:
        raise InputError(
            f"--split={FLAGS.split} holds no identities out for the test: give it test_share, or "
            "--protocol"
        )
    return found[0]


class Progress:
    """A line as each training ends, and what is known of its cells then."""

    def __init__(self, total: int, measure: Callable[[Cell], object], cells: list[Cell]):
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.measure = measure
        self.cells = cells

    def __call__(self, job: Job, failed: str | None) -> None:
        self.done += 1
        seconds_each = (time.monotonic() - self.started) / self.done
        left = f"{seconds_each * (self.total - self.done) / 60:.0f} min left"
        command.say(f"[{self.done}/{self.total}] {job.name}: {failed or 'trained'}, {left}")
        for cell in self.cells:
            if cell.run == job.folder and not failed:
                with contextlib.suppress(InputError):  # tried again at the end, and told there
                    self.measure(cell)


def collected(
    plan: Plan, measure: Callable[[Cell], dict[str, Any]], failed: dict[Path, str]
) -> tuple[spreads.Results, dict[str, str]]:
    """Returns what each cell comes to, and why which is missing; in the order of the flags."""
    by_place: spreads.Results = {}
    for cell in plan.cells:
        by_place[cell.scenario, cell.old, cell.method] = {}
    missing = {}
    for cell in plan.cells:
        why = failed.get(cell.run) or failed.get(cell.old_encoder)
        try:
            if why:
                raise InputError(why)
            by_place[cell.scenario, cell.old, cell.method][cell.seed] = measure(cell)
        except InputError as error:
            missing[cell.name] = str(error)
    return {place: by_seed for place, by_seed in by_place.items() if by_seed}, missing


def tell(plan: Plan, results: spreads.Results, missing: dict[str, str], out: Path) -> None:
    """Writes the report, and says what it comes to."""
    FLAGS = flags.FLAGS
    made_from: dict[str, Any] = {}
    for name in ("source", "split", "scenario", "old", "method", "seeds"):
        made_from[f"--{name}"] = FLAGS[name].value
    made_from["train"] = list(plan.shared.written)
    for name, cut in plan.data.items():
        made_from[f"data, {name}"] = cut.fingerprint
    made_from["runs"] = sorted(str(cell.run.relative_to(plan.workdir)) for cell in plan.cells)
    asked = bool(FLAGS["metric"].present)
    found = report.findings(results, plan.reference, FLAGS.metric, missing, made_from, asked)
    report.write(found, made_from, out)
    for line in aligned(tables.ranking(found["ranking"])):
        command.say(line)
    command.say(found["title"])
    command.say(f"report: {out / 'report.html'}")


def define_flags() -> None:
    train.define_flags()
    flags.DEFINE_multi_string(
        "old", None, "an old encoder, 'NAME: --flag=value ...' or 'NAME: PATH'", **OVERRIDE
    )
    flags.DEFINE_multi_string(
        "method", None, "a method, 'SPEC' or 'NAME: SPEC --flag=value ...'", **OVERRIDE
    )
    flags.DEFINE_list(
        "scenario", ["open-class"], f"of {', '.join(SCENARIOS)}: which images are whose", **OVERRIDE
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
        "jobs", 0, "trainings at once; 0 is one for every two cores", lower_bound=0
    )


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
