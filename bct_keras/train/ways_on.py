"""What to do where there are too few images, or where an encoder did not come out compatible."""

from bct_keras import artefacts, stores
from bct_keras.data import amount
from bct_keras.encoders import ADAPTER_KIND
from bct_keras.errors import option
from bct_keras.train.recipe import Recipe


def before(recipe: Recipe, images: int, identities: int) -> str | None:
    """Returns what to know before a training on too few images; None where they are enough."""
    if recipe.start or not amount.is_small(images, identities):
        return None
    if not recipe.build_method().needs_old:  # an old encoder, or one to compare with
        return None
    return f"note: {amount.too_few(images, identities)}; {instead()}"


def instead() -> str:
    """Returns what works with few images, in words."""
    return (
        f"give {option('start', 'NEW')}, an encoder that was trained on other images (a run's "
        "folder, or a .keras file), or train nothing: adapt fits a small map from such an encoder "
        "to the old one"
    )


def after(start: str, start_rate: float, epochs: int) -> str:
    """Returns what to try after a training whose encoder is not compatible.

    Args:
        start: What it started from; empty for random weights.
        start_rate: By how much less that was trained.
        epochs: How long it was.
    """
    if not start:
        return f"a way on: {instead()}"
    if artefacts.kind_of(stores.place(start)) == ADAPTER_KIND:
        rate = option("start_rate", f"{start_rate / 10:g}")
        return (
            f"a way on: take {start} as it is, if the report in it is better than this one; "
            f"or {rate}, which leaves more of it as it was"
        )
    longer = option("epochs", max(40, 2 * epochs))
    return (
        f"a way on: train nothing, and let adapt fit a small map from {start} to the old "
        f"encoder, which takes a minute; or {option('start_rate', 1)} {longer}, which turns more "
        "of it towards the old encoder, for longer"
    )
