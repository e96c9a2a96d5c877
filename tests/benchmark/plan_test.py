import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bct_keras.benchmark.cells import Cut, Job, Options
from bct_keras.benchmark.plan import Entry, Plan, parse_entries, parse_entry, with_reference
from bct_keras.errors import InputError

SHARED = ["--backbone=iresnet_small(width=4)", "--dims=16"]
DEFAULTS = {
    "head": "arcface",
    "optimizer": "sgd",
    "schedule": "cosine",
    "learning_rate": 0.1,
    "batch_size": 8,
    "epochs": 2,
    "mirror": True,
    "seed": 0,
}


def values_of(written: Sequence[str]) -> dict[str, Any]:
    """Returns these tests' options, of which those of dimensions are numbers."""
    values: dict[str, Any] = {}
    for argument in written:
        name, _, text = argument.removeprefix("--").partition("=")
        values[name] = int(text) if name.endswith("dims") else text
    return values


def options(*written: str) -> Options:
    return Options(written, values_of(written))


def planned(
    methods: list[str],
    olds: tuple[str, ...] = ("weak: --dims=8", "strong:  --head=arcface(margin=0.5, scale=16)"),
    scenarios: tuple[str, ...] = ("open-class", "extended-class"),
    shared: list[str] = SHARED,
) -> Plan:
    data = {cut: Cut(Path(f"data/{cut}"), cut * 2) for cut in ("class", "data")}
    plan = Plan(Path("work"), Options((), DEFAULTS) + options(*shared), data)
    entries = with_reference(parse_entries("method", methods, values_of))
    plan.add(list(scenarios), parse_entries("old", olds, values_of), entries, [0, 1])
    return plan


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("mixbct", Entry("mixbct", "mixbct")),
        ("l2(weight=10, slack=0.2)", Entry("l2(weight=10, slack=0.2)", "l2(weight=10, slack=0.2)")),
        ("weak-l2: l2(10, 0.2)", Entry("weak-l2", "l2(10, 0.2)")),
        (
            "my_methods:Pull(weight=5)",
            Entry("my_methods:Pull(weight=5)", "my_methods:Pull(weight=5)"),
        ),
        (
            "wide: mixbct --dims=16  --compatible_dims=8",
            Entry("wide", "mixbct", options("--dims=16", "--compatible_dims=8")),
        ),
        (
            "old: --head=arcface(margin=0.5, scale=16) --nomirror",
            Entry("old", "", options("--head=arcface(margin=0.5, scale=16)", "--nomirror")),
        ),
        ("mine: encoders/old.keras", Entry("mine", "encoders/old.keras")),
    ],
)
def test_an_entry_is_a_name_a_spec_and_flags(text, entry):
    assert parse_entry(text, values_of) == entry


def test_an_old_encoder_needs_a_name():
    with pytest.raises(
        InputError, match=r"'--head=softmax' has no name: give it one in front, as in weak: head"
    ):
        parse_entry("--head=softmax", values_of)


def test_two_entries_of_one_name():
    with pytest.raises(
        InputError, match=r"^method has two entries called 'a'; give one another name"
    ):
        parse_entries("method", ["a: l2", "a: bct"], values_of)


def test_the_reference_is_among_the_methods():
    assert [entry.name for entry in with_reference(parse_entries("method", ["l2"], values_of))] == [
        "independent",
        "l2",
    ]
    own = parse_entries("method", ["l2", "free: independent"], values_of)
    assert with_reference(own) == own
    assert planned(["l2", "free: independent"]).reference == "free"


def test_every_cell_once_and_what_can_be_shared_is():
    plan = planned(["l2", "mixbct"])
    # 2 scenarios x 2 old encoders x 3 methods x 2 seeds
    assert len(plan.cells) == len({cell.name for cell in plan.cells}) == 24
    titles = [job.name for job in plan.jobs.values()]
    # Both scenarios are of the class split, so they share an old encoder: 2 x 2 seeds. It is no
    # part of an independent run, but its dimensions are (8 and 16): 2 scenarios x 2 x 2 seeds. l2
    # and mixbct: 2 x 2 x 2 x 2.
    assert [sum(title.startswith(start) for title in titles) for start in ("old, ", "")] == [
        4,
        4 + 8 + 16,
    ]
    assert all(job.after is None for job in list(plan.jobs.values())[:4])
    of_one_width = planned(
        ["l2", "mixbct"], olds=("weak: --head=softmax", "strong: --head=arcface")
    )
    assert len(of_one_width.jobs) == 4 + 4 + 16


def test_a_job_has_the_flags_of_its_training():
    plan = planned(
        ["wide: mixbct(mix_ratio=0.4) --dims=32 --compatible_dims=8"], olds=("weak: --dims=8",)
    )
    (cell,) = [
        c for c in plan.cells if (c.scenario, c.method, c.seed) == ("extended-class", "wide", 1)
    ]
    job = plan.jobs[cell.run]
    assert job.after == cell.old_encoder
    assert job.arguments == (
        *SHARED,
        "--dims=8",  # those of its old encoder, unless the method says otherwise
        "--dims=32",
        "--compatible_dims=8",
        "--method=mixbct(mix_ratio=0.4)",
        "--seed=1",
        "--data=data/class/all",
        f"--workdir={cell.run}",
        "--formats=none",
        "--protocol=none",
        f"--old={cell.old_encoder}",
    )
    recipe = job.recipe
    assert (recipe.method, recipe.seed, recipe.dims, recipe.compatible_dims) == (
        "mixbct(mix_ratio=0.4)",
        1,
        32,
        8,
    )
    assert (job.data, job.old) == (Path("data/class/all"), cell.old_encoder)
    old = plan.jobs[cell.old_encoder]
    assert (old.recipe.method, old.recipe.dims, old.old) == ("independent", 8, None)
    assert old.arguments[: len(SHARED) + 1] == (*SHARED, "--dims=8")
    assert {"--method=independent", "--data=data/class/old", "--seed=1"} < set(old.arguments)
    assert re.fullmatch(r"work/runs/extended-class/weak/wide-seed1-[0-9a-f]{10}", str(job.folder))


def test_cells_of_one_old_encoder_and_view_take_turns():
    plan = planned(["l2", "mixbct"], scenarios=("open-class",), olds=("weak: --dims=8",))
    turns = [(job.turns, job.name) for job in plan.jobs.values() if job.turns]
    assert len(turns) == 4
    assert len({turn for turn, _ in turns}) == 2  # two seeds


def test_another_recipe_is_another_run():
    one, other = (planned(["l2"], shared=[*SHARED, flag]) for flag in ("--epochs=2", "--epochs=3"))
    assert not one.jobs.keys() & other.jobs.keys()
    assert one.jobs.keys() == planned(["l2"], shared=[*SHARED, "--epochs=2"]).jobs.keys()


def test_dimensions_that_do_not_fit_the_old_encoder():
    with pytest.raises(
        InputError, match=r"'wide' trains 32 compatible dimensions and the old encoder 'weak' has 8"
    ):
        planned(["wide: l2 --dims=32"], olds=("weak: --dims=8",))


def test_an_encoder_that_is_there_is_not_trained(tiny_encoder_path):
    path = tiny_encoder_path(4)
    plan = planned(["l2"], olds=(f"mine: {path}",), scenarios=("open-class",))
    assert {cell.old_encoder for cell in plan.cells} == {path}
    assert len(plan.jobs) == 4
    assert all("--dims=4" in job.arguments and job.after is None for job in plan.jobs.values())


def test_a_run_is_done_when_its_manifest_says_so(tmp_path):
    recipe = (Options((), DEFAULTS) + options(*SHARED)).recipe("l2")
    job = Job("a run", tmp_path / "run", recipe, tmp_path / "data")
    assert not job.done
    job.folder.mkdir()
    (job.folder / "manifest.json").write_text('{"kind": "unfinished run"}')
    assert not job.done
    (job.folder / "manifest.json").write_text('{"kind": "run"}')
    assert job.done


GOLDEN_RUNS = {
    "extended-class/independent-seed1-3c81951f7f",
    "extended-class/weak/wide-seed1-8f1f666bb5",
    "open-class/independent-seed1-c0daebdce2",
    "open-class/weak/wide-seed1-195b346c6f",
}


def test_runs_lie_where_those_of_earlier_benchmarks_do():
    """As the commit 6fd936c, which had flags alone, named them."""
    plan = planned(
        ["wide: mixbct(mix_ratio=0.4) --dims=32 --compatible_dims=8"], olds=("weak: --dims=8",)
    )
    names = {str(cell.run.relative_to("work/runs")) for cell in plan.cells if cell.seed == 1}
    assert names == GOLDEN_RUNS
