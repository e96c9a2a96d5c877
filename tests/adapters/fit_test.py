"""What an adapter of each kind finds where the answer is known, and what `fit` refuses."""

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import bct_keras as bct
from bct_keras.adapters import ADAPTERS
from bct_keras.adapters.linear import Regression, chosen_ridge, judged, quality
from bct_keras.adapters.pairs import checked_pairs, divided
from bct_keras.adapters.residual import CLEARLY
from bct_keras.metrics.baselines import procrustes_map
from bct_keras.vectors import normalised

RANDOM = np.random.default_rng(0)
SOURCE: np.ndarray = RANDOM.normal(size=(400, 6)).astype(np.float32)
LABELS = np.arange(400) // 4
QUICK: dict[str, dict[str, Any]] = {
    "residual": {"steps": 30, "hidden": 16, "look_every": 10, "loss": "gallerycontrast"}
}


def fitted(kind: str, source=SOURCE, target=None, labels=None, **options: Any) -> Any:
    target = SOURCE[:, :4] if target is None else target
    return bct.adapters.fit(kind, source, target, labels, **{**QUICK.get(kind, {}), **options})


def embedded(adapter: Any, source: np.ndarray = SOURCE) -> np.ndarray:
    """Returns what `predict` gives, which would be compiled for each adapter anew."""
    return adapter(np.asarray(source, np.float32)).numpy()


def turned(dims: int) -> np.ndarray:
    """Returns an orthogonal matrix [dims, dims]."""
    return np.linalg.qr(RANDOM.normal(size=(dims, dims)))[0]


def mean_cosine(adapter: Any, source: np.ndarray, target: np.ndarray) -> float:
    return float(np.sum(embedded(adapter, source) * normalised(target), axis=1).mean())


def bent(source: np.ndarray) -> np.ndarray:
    """Returns what no linear map can give: the absolute coordinates, less what all have."""
    return np.abs(normalised(source)) - 0.3


def test_procrustes_finds_a_rotation_exactly():
    turn = turned(6)
    adapter = fitted("procrustes", 3.0 * SOURCE, SOURCE @ turn)
    np.testing.assert_allclose(adapter.turn.get_weights()[0], turn, atol=1e-6)
    np.testing.assert_allclose(embedded(adapter), normalised(SOURCE @ turn), atol=1e-6)


@pytest.mark.parametrize(("source_dims", "target_dims"), [(6, 3), (3, 6)])
def test_procrustes_of_different_dimensions_is_orthogonal(source_dims, target_dims):
    source = SOURCE[:, :source_dims]
    target = RANDOM.normal(size=(400, target_dims))
    weights = fitted("procrustes", source, target).turn.get_weights()[0]
    shorter = weights.T @ weights if target_dims < source_dims else weights @ weights.T
    np.testing.assert_allclose(shorter, np.eye(3), atol=1e-6)


def test_procrustes_finds_a_space_within_a_larger_one():
    turn = turned(6)[:3]
    adapter = fitted("procrustes", SOURCE[:, :3], SOURCE[:, :3] @ turn)
    np.testing.assert_allclose(adapter.turn.get_weights()[0], turn, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 0.5, 100.0])
def test_linear_is_scikit_learns_ridge_towards_a_rotation(ridge):
    source, target = normalised(SOURCE), normalised(RANDOM.normal(size=(400, 5)))
    # What the rotation leaves is regressed; the ridge pulls that to nothing.
    turn = procrustes_map(source - source.mean(axis=0), target - target.mean(axis=0))
    expected = Ridge(alpha=ridge).fit(source, target - source @ turn)
    found = Regression(source, target).solved(ridge)
    np.testing.assert_allclose(found.weights, turn + expected.coef_.T, atol=1e-6)
    np.testing.assert_allclose(found.bias, expected.intercept_, atol=1e-6)
    weights, bias = fitted("linear", target=target, ridge=ridge).line.get_weights()
    np.testing.assert_allclose(weights, turn + expected.coef_.T, atol=1e-6)
    np.testing.assert_allclose(bias, expected.intercept_, atol=1e-6)


def test_without_a_ridge_linear_is_least_squares_and_with_a_large_one_a_rotation():
    source, target = normalised(SOURCE), normalised(RANDOM.normal(size=(400, 5)))
    regression = Regression(source, target)
    least = Ridge(alpha=0.0).fit(source, target)
    np.testing.assert_allclose(regression.solved(0.0).weights, least.coef_.T, atol=1e-6)
    rotation = regression.solved(1e9).weights
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(5), atol=1e-5)


def test_linear_finds_a_linear_map():
    source = normalised(SOURCE)
    turn = turned(6) @ np.diag([1.0, 1.0, 1.0, 0.2, 0.2, 0.2])
    adapter = fitted("linear", source, source @ turn, ridge=0.0)
    # The lengths of the targets are lost at the start, so that the map is not linear in the end.
    assert mean_cosine(adapter, source, source @ turn) > 0.99


def test_a_source_coordinate_that_never_differs_hurts_nothing():
    flat = np.hstack([SOURCE, np.zeros((400, 1), np.float32)])
    weights, _ = fitted("linear", flat, ridge=0.0).line.get_weights()
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights[-1], 0.0, atol=1e-12)


def test_without_labels_the_newer_encoders_neighbours_judge():
    pairs = {
        direction: checked_pairs(SOURCE, -SOURCE, direction=direction)
        for direction in ("query", "gallery")
    }
    assert pairs["query"].newer is pairs["query"].source
    assert pairs["gallery"].newer is pairs["gallery"].target
    perfect = checked_pairs(SOURCE, SOURCE)
    assert quality(perfect.source, perfect) == 1.0
    chance = normalised(RANDOM.normal(size=SOURCE.shape))
    # Each finds 10 of 200 by chance.
    assert quality(chance, perfect) == pytest.approx(10 / 200, abs=0.03)


def test_the_ridge_is_chosen_on_what_is_held_out():
    target = SOURCE @ turned(6)
    bent = target @ np.diag([1.0, 1.0, 1.0, 1.0, 0.05, 0.05])
    # Least squares find it, and a rotation does not.
    exact = divided(checked_pairs(SOURCE, bent, direction="gallery"), 0.2, seed=0)
    unit = Regression(exact.fitted.source, exact.fitted.target).spread.mean()
    assert chosen_ridge(exact) < 0.1 * unit
    random = np.random.default_rng(4)
    people = np.repeat(random.normal(size=(500, 20)), 2, axis=0)
    source = people + 0.3 * random.normal(size=(1000, 20))
    noisy = (people + 0.3 * random.normal(size=(1000, 20))) @ np.linalg.qr(
        random.normal(size=(20, 20))
    )[0]
    few = divided(checked_pairs(source, noisy, np.arange(1000) // 2), 0.97, seed=0)
    # Of 30 noisy pairs a rotation fits less than least squares do.
    unit = Regression(few.fitted.source, few.fitted.target).spread.mean()
    assert chosen_ridge(few) >= 0.1 * unit


def test_residual_finds_what_no_linear_map_can():
    source = RANDOM.normal(size=(2000, 4))
    target = bent(source)
    fresh = RANDOM.normal(size=(500, 4))
    linear = fitted("linear", source, target)
    for loss in ("cosine", "gallerycontrast"):
        options = {"steps": 300, "hidden": 64, "loss": loss, "gallery": 256, "look_every": 50}
        residual = fitted("residual", source, target, **options)
        gained = mean_cosine(residual, fresh, bent(fresh)) - mean_cosine(linear, fresh, bent(fresh))
        assert gained > 0.1, (loss, gained)


def test_residual_is_never_worse_than_its_start_on_what_is_held_out():
    chance = RANDOM.normal(size=(400, 4))  # nothing of it can be learnt
    adapter = fitted("residual", target=chance, steps=400, patience=2, learning_rate=0.03)
    losses = adapter.held_out_losses
    assert len(losses) < 1 + 400 / 10, "it stopped early"
    best = int(np.argmin(losses))
    assert best == len(losses) - 3  # two looks without a gain
    shorter = fitted("residual", target=chance, steps=400, patience=1000, learning_rate=0.03)
    assert shorter.held_out_losses[: len(losses)] == losses
    assert min(losses) <= losses[0]


def test_the_loss_is_chosen_on_what_is_held_out():
    # The target sees nothing of an item but its class, and of that a noisy picture.
    people = RANDOM.normal(size=(100, 8))[LABELS]
    source = people + 0.1 * RANDOM.normal(size=(400, 8))
    noisy = people + 1.5 * RANDOM.normal(size=(400, 8))
    options: dict[str, Any] = {"steps": 100, "hidden": 32}
    found = {}
    for loss in (None, "cosine", "gallerycontrast"):
        found[loss] = fitted("residual", source, noisy, LABELS, **(options | {"loss": loss}))
    chosen = found[None]
    same = found[chosen.loss_name]
    np.testing.assert_array_equal(embedded(chosen, source), embedded(same, source))
    held_out = judged(divided(checked_pairs(source, noisy, LABELS), 0.2, seed=0).held_out)
    cosine, contrast = (
        quality(embedded(found[loss], held_out.source), held_out)
        for loss in ("cosine", "gallerycontrast")
    )
    clearly = contrast > cosine + CLEARLY
    assert chosen.loss_name == ("gallerycontrast" if clearly else "cosine")
    assert fitted("residual", source, noisy, **(options | {"loss": None})).loss_name == "cosine"


def test_the_mean_with_its_start_is_taken_where_that_is_better():
    options: dict[str, Any] = {"steps": 100, "hidden": 32, "loss": "cosine"}
    trained = fitted("residual", **options, share=1.0)
    half = fitted("residual", **options, share=0.5)
    start = fitted("residual", **options, share=0.0)
    mean = normalised(embedded(trained) + embedded(start))
    np.testing.assert_allclose(embedded(half), mean, atol=1e-5)
    held_out = judged(divided(checked_pairs(SOURCE, SOURCE[:, :4]), 0.2, seed=0).held_out)
    reached = {
        adapter.share: quality(embedded(adapter, held_out.source), held_out)
        for adapter in (half, trained)
    }
    chosen = fitted("residual", **options)
    assert reached[chosen.share] == max(reached.values())


def test_the_weights_are_those_of_the_best_look():
    chance = RANDOM.normal(size=(400, 4))
    adapter = fitted(
        "residual", target=chance, loss="cosine", steps=60, learning_rate=0.1, share=1.0
    )
    held_out = divided(checked_pairs(SOURCE, chance), 0.2, seed=0).held_out
    cosine = mean_cosine(adapter, held_out.source, held_out.target)
    assert 1 - cosine == pytest.approx(min(adapter.held_out_losses), abs=1e-5)


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("labels", [None, LABELS])
def test_the_same_seed_gives_the_same_bytes(kind, labels):
    keras.utils.set_random_seed(1)
    first = fitted(kind, labels=labels, seed=7)
    keras.utils.set_random_seed(2)
    second = fitted(kind, labels=labels, seed=7)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_another_adapter_and_fit_draws_nothing_of_the_callers():
    np.random.seed(5)
    expected = np.random.default_rng(5), np.random.RandomState(5).rand()
    first, second = fitted("residual", seed=1), fitted("residual", seed=2)
    assert np.random.rand() == expected[1]
    assert not np.array_equal(first.wide.get_weights()[0], second.wide.get_weights()[0])


def test_raw_embeddings_may_be_given():
    lengths = RANDOM.uniform(0.1, 50, size=(400, 1))
    for kind in ADAPTERS:
        expected = embedded(fitted(kind))
        found = embedded(fitted(kind, lengths * SOURCE, 7.0 * SOURCE[:, :4]), lengths * SOURCE)
        np.testing.assert_allclose(found, expected, atol=2e-3, err_msg=kind)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_embeddings_may_be_as_large_or_small_as_float32_can_be(scale):
    adapter = fitted("linear")
    np.testing.assert_allclose(embedded(adapter, scale * SOURCE), embedded(adapter), atol=1e-5)


def test_whole_numbers_and_lists_are_embeddings_too():
    numbers = (10 * SOURCE).astype(np.int8)
    numbers[:, 0] += 100 * (numbers == 0).all(axis=1)
    assert embedded(fitted("linear", numbers.tolist(), numbers), numbers).shape == (400, 6)


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("rows", [2, 3])
def test_a_few_pairs_are_enough_for_an_answer(kind, rows):
    adapter = fitted(kind, SOURCE[:rows], SOURCE[:rows, :4])
    assert np.isfinite(embedded(adapter)).all()


def test_names_are_labels_and_one_class_alone_is_no_error():
    names = np.array([f"person {label}" for label in LABELS])
    by_name, by_number = fitted("residual", labels=names), fitted("residual", labels=LABELS)
    assert by_name.held_out_losses[0] == pytest.approx(by_number.held_out_losses[0], rel=0.2)
    assert np.isfinite(embedded(fitted("residual", labels=np.zeros(400, int)))).all()


def test_no_class_is_on_both_sides():
    division = divided(checked_pairs(SOURCE, SOURCE, LABELS), 0.2, seed=0)
    assert not set(division.fitted.labels) & set(division.held_out.labels)
    assert len(np.unique(division.held_out.labels)) == 20
    assert len(division.fitted) + len(division.held_out) == 400


def broken(value: float) -> np.ndarray:
    found = SOURCE.copy()
    found[3:5] = value
    return found


REFUSED = [
    (
        ("linear", SOURCE[:5], SOURCE[:4]),
        {},
        "there are 5 source embeddings and 4 target embeddings, and each row of the one has to be"
        " the item of the same row of the other",
    ),
    (
        ("linear", SOURCE[:1], SOURCE[:1]),
        {},
        "an adapter needs pairs of embeddings to fit, and there is one pair only",
    ),
    (
        ("residual", np.ones((9, 4)) * np.arange(1, 10)[:, None], SOURCE[:9]),
        {},
        "all 9 source embeddings have the same direction, and tell nothing of the items",
    ),
    (
        ("residual", SOURCE[:9], np.ones((9, 4))),
        {},
        "all 9 target embeddings have the same direction, and tell nothing of the items",
    ),
    (
        ("linear", broken(np.nan), SOURCE),
        {},
        "the source embedding of row 3 is not a finite number, of 2 row(s) in all",
    ),
    (
        ("linear", SOURCE, broken(np.inf)),
        {},
        "the target embedding of row 3 is not a finite number, of 2 row(s) in all",
    ),
    (
        ("procrustes", SOURCE, broken(0.0)),
        {},
        "the target embedding of row 3 is nothing but zeros, of 2 row(s) in all, and has no"
        " direction",
    ),
    (
        ("linear", SOURCE[0], SOURCE),
        {},
        "source embeddings have to be numbers, [n, dims], and these are float32 [6]",
    ),
    (
        ("linear", SOURCE[:0], SOURCE[:0]),
        {},
        "source embeddings have to be numbers, [n, dims], and these are float32 [0, 6]",
    ),
    (
        ("orthogonal", SOURCE, SOURCE),
        {},
        "'orthogonal' is no kind of adapter: there are linear, procrustes, residual",
    ),
    (
        ("linear", SOURCE, SOURCE, LABELS[:7]),
        {},
        "labels have to be [400], one for each pair, and these are [7]",
    ),
    (
        ("linear", SOURCE, SOURCE, LABELS + 0.5),
        {},
        "labels have to be whole numbers or names, and these are float64",
    ),
    (
        ("procrustes", SOURCE, SOURCE),
        {"ridge": 1.0},
        "the adapter procrustes has no option ridge: it has none",
    ),
    (
        ("linear", SOURCE, SOURCE),
        {"steps": 3},
        "the adapter linear has no option steps: it has ridge",
    ),
    (("linear", SOURCE, SOURCE), {"ridge": -1.0}, "ridge=-1 has to be a number from 0 on"),
    (("linear", SOURCE, SOURCE), {"held_out": 1.0}, "held_out=1 has to be between 0 and 1"),
    (
        ("residual", SOURCE, SOURCE),
        {"loss": "l2"},
        "loss=l2 is none: gallerycontrast or cosine",
    ),
    (("residual", SOURCE, SOURCE), {"steps": 0}, "steps=0 has to be at least 1"),
    (("residual", SOURCE, SOURCE), {"hidden": 0}, "hidden=0 has to be at least 1"),
    (("residual", SOURCE, SOURCE), {"share": 2}, "share=2 has to be between 0 and 1"),
    (
        ("linear", SOURCE, SOURCE),
        {"direction": "back"},
        "direction='back' is none: query or gallery",
    ),
    (("residual", SOURCE, SOURCE), {"temperature": 0}, "temperature=0 has to be above 0"),
    (("residual", SOURCE, SOURCE), {"own": 2}, "own=2 has to be between 0 and 1"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), REFUSED)
def test_what_cannot_be_fitted_is_refused_in_a_plain_line(arguments, options, message):
    with pytest.raises(bct.InputError) as caught:
        bct.adapters.fit(*arguments, **options)
    assert str(caught.value) == message
