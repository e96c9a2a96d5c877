"""Gathers the images that choose the weight of a fused query: training identities, never the test.

Images that neither encoder was trained on decide alone: the `validation` beside the data, or what
the user names. Else it takes both the new encoder's own and the `old` ones beside the data.
"""

from pathlib import Path

import numpy as np

from bct_keras import artefacts
from bct_keras.adapt import pairs as of_pairs
from bct_keras.adapt.adaptation import Adaptation
from bct_keras.adapt.pairs import Pairs
from bct_keras.adapt.plan import Plan
from bct_keras.adapt.weight import ITEMS, PLAIN_MEAN, Judges, Weight, chosen_weight
from bct_keras.adapters import pairs as checked
from bct_keras.adapters.fitting import HELD_OUT
from bct_keras.data.dataset import open_data_set
from bct_keras.progress import Say


def weight_of(found: Adaptation, pairs: Pairs, plan: Plan, say: Say) -> Weight:
    """Returns the weight of the fused query, and says what it goes by.

    Args:
        found: Both encoders and the adapter, not yet fused.
        pairs: What the adapter was fitted on.
        plan: What was asked for.
        say: Takes a line.
    """
    named = [Path(each) for each in plan.weigh_on] or beside(plan)
    judges = []
    for folder in named:
        data = open_data_set(folder)
        data.check_content()
        some = of_pairs.of_data(data, found.compatible, found.old, ITEMS)
        assert some.labels is not None  # a data set has labels
        judges.append(Judges(str(folder), some.new, some.old, some.labels))
    unseen = plan.weigh_on or (len(named) == 1 and named[0].name == "validation")
    if named and not unseen:
        judges.append(held_out_judges(found, pairs, plan))
    if not judges:
        say(
            f"fused: the new embedding counts {PLAIN_MEAN:g}: there are no identities that would"
            " choose between the encoders fairly"
        )
        return Weight(PLAIN_MEAN, {})
    weight = chosen_weight(judges)
    by = " and ".join(weight.gains)
    say(f"fused: the new embedding counts {weight.value:g}, chosen by {by}")
    return weight


def beside(plan: Plan) -> list[Path]:
    """Returns the data sets beside the one that is fitted on that help to choose.

    That is the validation, or else the images that the old encoder was trained on.
    """
    if not plan.data:
        return []
    folder = Path(plan.data)
    for name in ("validation", "old"):
        found = folder.with_name(name)
        if found != folder and (found / artefacts.MANIFEST).is_file():
            return [found]
    return []


def held_out_judges(found: Adaptation, pairs: Pairs, plan: Plan) -> Judges:
    """Returns those pairs that the adapter was not fitted on, or all where there is none."""
    assert pairs.labels is not None  # a data set has labels
    if found.adapter is None:
        return Judges("the new encoder's own", pairs.new, pairs.old, pairs.labels)
    division = checked.divided(
        checked.checked_pairs(pairs.new, pairs.old, pairs.labels), HELD_OUT, plan.seed
    )
    held = division.held_out
    new = found.adapter.predict(held.source.astype(np.float32), verbose=0)
    return Judges("the new encoder's own", new, held.target, held.labels)
