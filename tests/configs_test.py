"""Every command that configs/ offers: its flags parse, and its method, head, optimizer and schedule
can be built.
"""

import copy
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags

from bct_keras import specs
from bct_keras.benchmark import __main__ as benchmark
from bct_keras.benchmark import plan as plans
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.optimizers import OPTIMIZERS
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.splits import SPLITS
from bct_keras.schedules import SCHEDULES
from bct_keras.train import __main__ as train
from bct_keras.train.recipe import Recipe

ROOT = Path(__file__).parents[1]
SCENARIOS = ("open-class", "open-data", "extended-class", "extended-data")
OLD = {"softmax128": 128, "softmax256": 256, "softmax512": 512, "arcface512": 512}


@pytest.fixture
def defined(request, monkeypatch) -> Iterator[flags.FlagValues]:
    """The flags of a command, by default of train, in the folder from which it is started."""
    monkeypatch.chdir(ROOT)
    known = set(flags.FLAGS)
    getattr(request, "param", train).define_flags()
    yield flags.FLAGS
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


def parsed(defined: flags.FlagValues, arguments: list[str]) -> flags.FlagValues:
    own = copy.deepcopy(defined)
    assert own(["train", *arguments]) == ["train"]  # nothing that is no flag
    return own


def recipe_of(own: flags.FlagValues) -> Recipe:
    return Recipe(**{field: getattr(own, field) for field in Recipe.__dataclass_fields__})


def commands() -> list[list[str]]:
    lines = (ROOT / "configs/ms1mv3/commands.txt").read_text().splitlines()
    found = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert {tuple(words[:3]) for words in found} == {("python", "-m", "bct_keras.train")}
    return [words[3:] for words in found]


def test_there_is_a_command_for_every_cell(defined):
    found = [
        tuple(Path(word).stem for word in words if word.startswith("--flagfile"))
        for words in commands()
    ]
    methods = {method for _, _, method in found}
    assert methods == {*METHODS, "weakened_l2"}
    assert sorted(found) == sorted(itertools.product(SCENARIOS, OLD, methods))


def test_every_command_is_the_cell_that_it_is_called(defined):
    places = set()
    for words in commands():
        own = parsed(defined, words)
        scenario, old, method = (Path(word).stem for word in words if word.startswith("--flagfile"))
        training, cut = scenario.split("-")
        assert own.scenario == training
        assert own.split == f"{cut}(old_share=0.3)"
        assert own.prepared == f"data/ms1mv3-{cut}"
        assert own.dims == OLD[old]
        assert own.method.partition("(")[0] == {"weakened_l2": "l2"}.get(method, method)
        assert (own.backbone, own.replicas, own.batch_size, own.epochs) == (
            "iresnet50",
            8,
            1024,
            35,
        )
        assert own.old_workdir == f"runs/ms1mv3/{cut}-{old}"
        assert own.old_flagfile == f"configs/ms1mv3/old-{old}.flags"
        assert own.workdir == f"runs/ms1mv3/{scenario}-{old}-{method}"
        places.add(own.workdir)
    assert len(places) == len(commands())


def test_every_command_can_be_built(defined):
    built = set()
    for words in commands():
        own = parsed(defined, words)
        recipe = recipe_of(own)
        recipe.build_method()
        key = (recipe.head, recipe.dims, recipe.optimizer, recipe.schedule)
        if key in built:
            continue
        built.add(key)
        specs.build(HEADS, recipe.head, classes=10).build((None, recipe.dims))
        rate = specs.build(
            SCHEDULES, recipe.schedule, learning_rate=0.1, steps=350, steps_per_epoch=10
        )
        specs.build(OPTIMIZERS, recipe.optimizer, learning_rate=rate)
        assert (
            recipe.steps_per_epoch(1_581_241, replicas=own.replicas) == 1544
        )  # MS1Mv3's 28,029 first identities
        specs.build(SPLITS, own.split)
        specs.bind(SOURCES, own.source, ())
        for spec in own.protocol:
            specs.bind(PROTOCOLS, spec, ("cache", "on_bad"))
    assert len(built) == 6  # three widths, and UniBCT's schedule with each


@pytest.mark.parametrize("old", OLD)
def test_the_old_encoders_fit(defined, old):
    recipe = recipe_of(parsed(defined, [f"--flagfile=configs/ms1mv3/old-{old}.flags"]))
    assert (recipe.backbone, recipe.method, recipe.dims) == ("iresnet18", "independent", OLD[old])
    assert recipe.head.partition("(")[0] == old.rstrip("0123456789")


TRAINED = [
    path
    for folder in ("configs", "configs/omniglot")
    for path in sorted(ROOT.glob(f"{folder}/*.flags"))
    if path.stem not in ("benchmark", "table")
]
NAMED_OTHERWISE = {"base": "mixbct", "old": "independent", "weakened_l2": "l2"}


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_other_flag_files_train_the_method_that_they_are_named_after(defined, path):
    recipe = recipe_of(parsed(defined, [f"--flagfile={path}"]))
    method = NAMED_OTHERWISE.get(path.stem) or path.stem
    assert type(recipe.build_method()) is METHODS[method]


@pytest.mark.parametrize(
    "path",
    [path for path in TRAINED if path.stem != "base"],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_on_top_of_a_flag_file_stand_its_command_and_what_came_of_it(path):
    first, *others = path.read_text().split("\n--")[0].splitlines()
    assert first == f"# bct train --flagfile={path.relative_to(ROOT)}"
    if path.parent.name == "configs" and path.stem != "old":
        found = (
            r"on two cores.*: old/old 0\.22\d{2}, new/old 0\.\d{4}, new/new 0\.\d{4}; above old/old"
            r" on \d of 8 metrics"
        )
        assert re.search(found, " ".join(line.removeprefix("# ") for line in others))


@pytest.mark.parametrize(
    ("path", "sizes"),
    [
        # 2 x 2 x 4 x 2 cells; beside them an old encoder for each of 2 splits, 2 kinds and 2 seeds
        ("configs/benchmark.flags", (32, 8)),
        ("configs/omniglot/benchmark.flags", (4 * 2 * 14 * 3, 2 * 2 * 3)),
        ("configs/omniglot/table.flags", (4 * 2 * 14 * 3, 2 * 2 * 3)),
    ],
)
@pytest.mark.parametrize("defined", [benchmark], indirect=True)
def test_the_benchmarks_can_be_planned(defined, path, sizes):
    defined(["benchmark", f"--flagfile={path}"])
    data = {cut: plans.Cut(Path(f"data/{cut}"), cut) for cut in plans.CUTS}
    plan = plans.Plan(Path("work"), benchmark.shared_options(), data)
    olds = plans.parse_entries("old", defined.old, benchmark.values_of)
    methods = plans.with_reference(
        plans.parse_entries("method", defined.method, benchmark.values_of)
    )
    plan.add(defined.scenario, olds, methods, [int(seed) for seed in defined.seeds])
    old_runs = [job for job in plan.jobs.values() if job.name.startswith("old, ")]
    assert (len(plan.cells), len(old_runs)) == sizes
    written = plan.shared.written
    assert "--epochs" in " ".join(written)
    assert not any(word.startswith(("--source", "--method", "--old")) for word in written)
