"""How the best setting of each method is chosen, and that the table has other identities."""

from pathlib import Path

import pytest
import tensorflow as tf
from tiny_benchmarks import VALUES

from bct_keras.benchmark import tuning
from bct_keras.benchmark.cells import Options
from bct_keras.benchmark.comparison import Comparison, planned
from bct_keras.benchmark.plan import Entry
from bct_keras.benchmark.tuning import (
    Tried,
    best_of,
    candidates_of,
    of_the_rest,
    of_tuning,
    renamed,
)
from bct_keras.benchmark.tuning_tables import tuning as tables_of
from bct_keras.benchmark.work import Measured
from bct_keras.data.dataset import open_data_set
from bct_keras.errors import InputError


def comparison(workdir: Path, *methods: str) -> Comparison:
    entries = []
    for method in methods:
        name, _, spec = method.partition(": ")
        entries.append(Entry(name, spec or name))
    return Comparison(
        workdir=workdir,
        shared=Options(("--dims=8",), VALUES),
        olds=[Entry("weak", ""), Entry("strong", "")],
        methods=entries,
        scenarios=["extended-class", "open-class"],
        seeds=[0, 5],
        source="synthetic(identities=16, images=2, image_size=28)",
        split="class(old_share=0.5, test_share=0.5)",
        protocol="lfw(x)",
        tune=2,
        tune_share=0.5,
    )


def measured(own: float, cross: float) -> dict:
    return {
        "old/old": {"top-1": 0.2},
        "new/new": {"top-1": own},
        "new/old": {"top-1": cross},
        "above_old": {"top-1": cross > 0.2},
        "verdict": "compatible",
        "seconds_per_step": 0.5,
    }


@pytest.fixture
def asked(tmp_path) -> Comparison:
    return renamed(comparison(tmp_path, "independent", "l2(weight=10)", "mine: mixbct"))


def judged(asked: Comparison, free: float, missing: str = "") -> tuning.Tuning:
    """Returns the choice where l2's second setting and mixbct's first one are the better ones."""
    candidates = candidates_of(asked)
    part = of_tuning(asked, candidates)
    plan = planned(part, lambda line: None)
    numbers = {"independent": (free, 0.1), "l2-1": (0.5, 0.3), "l2-2": (0.6, 0.3)}
    numbers |= {"mine-1": (0.5, 0.4), "mine-2": (0.5, 0.3)}
    outcome = Measured({}, {})
    for cell in plan.cells:
        if cell.method == missing:
            outcome.missing[cell.name] = "the loss is nan"
            continue
        place = (cell.scenario, cell.old, cell.method)
        outcome.results[place] = {cell.seed: measured(*numbers[cell.method])}
    return tuning.judged(part, candidates, plan, outcome)


def test_the_tuning_part_has_a_seed_a_scenario_and_images_of_its_own(asked):
    part = of_tuning(asked, candidates_of(asked))
    assert (part.seeds, part.scenarios, part.protocol) == ([6], ["extended-class"], None)
    assert [method.name for method in part.methods] == [
        "independent",
        "l2-1",
        "l2-2",
        "mine-1",
        "mine-2",
    ]
    rest = of_the_rest(asked, judged(asked, free=0.7))
    found = {}
    for each in (part, rest):
        plan = planned(each, lambda line: None)
        data = plan.data["class"].folder
        ids = set()
        for shard in open_data_set(data).shards:
            for record in tf.data.TFRecordDataset(str(shard.path)).as_numpy_iterator():
                ids.add(record)  # of the image, its label and its name
        found[data.name] = ids
        assert open_data_set(data).classes == 8
    assert found.keys() == {"tuning-class", "class"}
    assert not found["tuning-class"] & found["class"]
    # 8 identities each, 2 images of each
    assert [len(of_part) for of_part in found.values()] == [16, 16]


def test_the_table_has_the_best_setting_of_each(asked):
    found = judged(asked, free=0.7)
    assert found.scored_by == tuning.BY_SCORE
    l2, mine = found.methods
    # update gain 0.1 / 0.5, kept 0.6 / 0.7: 2 a b / (a + b)
    assert l2.tried[1].score == pytest.approx(2 * 0.2 * (6 / 7) / (0.2 + 6 / 7))
    assert (l2.name, l2.chosen) == ("l2", l2.tried[1].spec)
    assert (mine.name, mine.chosen) == ("mine", "mixbct")
    rest = of_the_rest(asked, found)
    assert [(method.name, method.spec) for method in rest.methods] == [
        ("independent", "independent"),
        ("l2", l2.tried[1].spec),
        ("mine", "mixbct"),
    ]
    assert (rest.within, rest.part, rest.protocol) == ((0.5, 1.0), "", "lfw(x)")


def test_where_update_gain_is_undefined_the_choice_goes_by_gain_less_tax(asked):
    found = judged(asked, free=0.1)
    assert found.scored_by == tuning.BY_DIFFERENCE
    l2, _ = found.methods
    assert l2.tried[1].score == pytest.approx((0.3 - 0.2) - (0.1 - 0.6))
    assert l2.chosen == l2.tried[1].spec
    text = next(tables_of(found.facts())).text
    assert "gain less tax, as the network without constraint is not above each old encoder" in text


def test_a_setting_that_fails_is_told_and_not_chosen(asked):
    found = judged(asked, free=0.7, missing="mine-1")
    _, mine = found.methods
    assert mine.chosen == mine.tried[1].spec
    summary, every = tables_of(found.facts())
    assert summary.rows[2][:4] == ["mine", "2", "10", "-"]
    assert ["mixbct", "-", "-", "-", "the loss is nan"] in every.rows
    assert [row[-1] for row in every.rows].count("yes") == 2


def test_of_equal_scores_that_of_more_gain_less_tax_is_best():
    none_above = [
        Tried("a", 0.0, -0.2, 0.1),
        Tried("b", 0.0, -0.1, 0.1),
        Tried("c", None, None, None),
    ]
    assert best_of(none_above).spec == "b"
    assert best_of(none_above[2:]).spec == "c"


def test_two_entries_of_one_method_need_names(tmp_path):
    with pytest.raises(InputError, match="method has two entries called 'l2' once they are tuned"):
        renamed(comparison(tmp_path, "l2(weight=1)", "l2(weight=2)"))
