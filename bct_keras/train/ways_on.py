"""What to do where there are too few images, or where an encoder did not come out compatible."""

from bct_keras.data import amount
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


def after(recipe: Recipe) -> str:
    """Returns what to try after a training whose encoder is not compatible."""
    if not recipe.start:
        return f"a way on: {instead()}"
    rate = option("start_rate", f"{recipe.start_rate / 10:g}")
    return (
        f"a way on: {rate}, which leaves more of {recipe.start} as it was; or train nothing, and "
        "let adapt fit a small map from it to the old encoder; or start from the folder that "
        f"adapt makes, {option('start', 'ADAPTED')}"
    )
