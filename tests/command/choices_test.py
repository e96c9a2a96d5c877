"""The names that flags show are those of the library's tables, and their defaults are its own."""

import pytest

from bct_keras import adapters
from bct_keras.adapt import plan as adapting
from bct_keras.advise import plan as advising
from bct_keras.backbones import BACKBONES
from bct_keras.benchmark.plan import SCENARIOS
from bct_keras.command import choices
from bct_keras.distribution import strategy
from bct_keras.export.formats import FORMATS
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.metrics import verdict
from bct_keras.prepare.splits import VIEW_OF_SCENARIO
from bct_keras.train import recipe


@pytest.mark.parametrize(
    ("shown", "table"),
    [
        (choices.ADAPTERS, adapters.ADAPTERS),
        (choices.BACKBONES, BACKBONES),
        (choices.DIRECTIONS, adapting.DIRECTIONS),
        (choices.FORMATS, FORMATS),
        (choices.HEADS, HEADS),
        (choices.KINDS_OF_MAP, adapting.KINDS),
        (choices.METHODS, METHODS),
        (choices.PRECISIONS, recipe.PRECISIONS),
        (choices.SCENARIOS, VIEW_OF_SCENARIO),
        (choices.SCENARIOS_OF_BENCHMARK, SCENARIOS),
        (choices.STRATEGIES, strategy.KINDS),
    ],
)
def test_names(shown, table):
    assert shown == tuple(table)


def test_defaults():
    plan = adapting.Plan()
    assert (plan.direction, plan.kind, plan.pairs, plan.seed) == (
        "query",
        "residual",
        choices.PAIRS,
        0,
    )
    assert (advising.Plan.pairs, advising.Plan.nodes) == (choices.PAIRS, 1)
    assert verdict.MARGIN == choices.MARGIN
