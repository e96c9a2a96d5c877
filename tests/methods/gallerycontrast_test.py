import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.errors import InputError
from bct_keras.methods import METHODS
from bct_keras.methods.gallerycontrast import GalleryContrast, Labelled, gallery_contrast

FIRST, SECOND = np.array([0, 0, 1, 2]), np.array([0, 3, 1, 1])


def embeddings(seed: int, dims: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, dims)).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def built(**arguments) -> GalleryContrast:
    method = GalleryContrast(
        **{"queue": 10, "temperature": 0.2, "weight": 3.0, "own": 0.25} | arguments
    )
    method.compatible_dims = 4
    method.build()
    return method


def step(
    method: GalleryContrast, new: np.ndarray, old: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    batch = {"old_embedding": tf.constant(old)}
    return method.penalty(tf.constant(new), tf.constant(labels, tf.int32), batch, None).numpy()


def by_hand(row, batch, old, batch_labels, queue, labels, temperature=0.2, weight=3.0, own=0.25):
    """Returns the loss of one row of a batch, by the formula of the docstring."""
    new, label = unit(batch)[row], batch_labels[row]
    found = np.exp(unit(queue) @ new / temperature)
    beside = np.exp(unit(batch) @ new / temperature)
    rivals = found[labels != label].sum() + beside[batch_labels != label].sum()
    mine = np.exp(new @ unit(old)[row] / temperature)
    of_class = np.mean([np.log(value / (value + rivals)) for value in found[labels == label]])
    return -weight * (own * np.log(mine / (mine + rivals)) + (1 - own) * of_class)


def test_penalty_is_the_formula_over_what_two_steps_have_left_in_the_queue():
    method, new, old = built(), embeddings(1), [embeddings(2), embeddings(3)]
    first = step(method, new, old[0], FIRST)
    np.testing.assert_allclose(
        first,
        [by_hand(row, new, old[0], FIRST, old[0], FIRST) for row in range(4)],
        rtol=1e-5,
    )
    queue, labels = np.concatenate(old), np.concatenate([FIRST, SECOND])
    second = step(method, new, old[1], SECOND)
    np.testing.assert_allclose(
        second,
        [by_hand(row, new, old[1], SECOND, queue, labels) for row in range(4)],
        rtol=1e-5,
    )


def test_the_oldest_places_are_taken_first():
    method, new, old = built(queue=6), embeddings(1), [embeddings(seed) for seed in (2, 3)]
    step(method, new, old[0], FIRST)
    step(method, new, old[1], SECOND)
    np.testing.assert_array_equal(method.labels_queue.numpy(), [1, 1, 1, 2, 0, 3])
    np.testing.assert_allclose(method.old_queue.numpy()[1], unit(old[1])[3], rtol=1e-6)


def test_images_of_its_class_do_not_repel():
    new, old = embeddings(1), embeddings(2)
    before = step(built(own=1.0), new, old, FIRST)
    old[1] = new[0]  # of the class of row 0, and as near to it as can be
    after = step(built(own=1.0), new, old, FIRST)
    assert after[0] == before[0]
    assert (after[2:] != before[2:]).all()


def test_own_tells_whether_its_own_embedding_or_its_class_counts():
    new, old = embeddings(1), embeddings(2)
    both, own, of_class = (step(built(own=share), new, old, FIRST) for share in (0.25, 1.0, 0.0))
    np.testing.assert_allclose(both, 0.25 * own + 0.75 * of_class, rtol=1e-5)
    # the only ones of their classes
    np.testing.assert_allclose(own[2:], of_class[2:], rtol=1e-5)
    assert (own[:2] != of_class[:2]).all()


def test_a_wider_embedding_is_searched_with_by_its_first_coordinates():
    new, old = embeddings(1), embeddings(2)
    wide = np.concatenate([new, 10 * embeddings(3)], axis=1)
    np.testing.assert_allclose(
        step(built(), wide, old, FIRST), step(built(), new, old, FIRST), rtol=1e-5
    )


def test_of_more_rows_than_places_the_last_ones_stay():
    method, new, old = built(queue=2), embeddings(1), embeddings(2)
    found = step(method, new, old, FIRST)
    np.testing.assert_array_equal(method.labels_queue.numpy(), FIRST[2:])
    # of the class of the first row none is left: its own embedding alone counts
    others = np.concatenate([unit(old)[2:], unit(new)[2:]])
    rivals = np.exp(others @ unit(new)[0] / 0.2).sum()
    own = np.exp(unit(old)[0] @ unit(new)[0] / 0.2)
    np.testing.assert_allclose(found[0], -3.0 * 0.25 * np.log(own / (own + rivals)), rtol=1e-5)


@pytest.mark.parametrize("name", ["nccl", "gallerycontrast"])
def test_a_temperature_that_is_none_is_refused(name):
    with pytest.raises(InputError, match=r"^temperature=0 has to be above 0$"):
        specs.build(METHODS, f"{name}(temperature=0)")


def test_a_share_that_is_none_is_refused():
    with pytest.raises(
        InputError, match=r"^own=1\.5 of gallerycontrast has to be between 0 and 1$"
    ):
        GalleryContrast(own=1.5)


CLASSES, DIMS, FILLED = 64, 32, 4


def images_alike(with_new_rivals: bool) -> float:
    """Returns the mean cosine of images of different classes after a training.

    The images are those that can hardly be recognised: the network knows that they are such, by one
    vector that all have and that it trains, and nothing of their class. The old embeddings fill
    few of their dimensions.
    """
    draw = np.random.default_rng(0)
    filled = draw.normal(size=(8 * CLASSES, FILLED))
    gallery = np.zeros((8 * CLASSES, DIMS), np.float32)
    gallery[:, :FILLED] = unit(filled)
    gallery_labels = tf.constant(np.arange(8 * CLASSES) % CLASSES)
    labels = gallery_labels[:CLASSES]
    different = tf.constant(unit(draw.normal(size=(CLASSES, DIMS))), tf.float32)
    common = tf.Variable(tf.zeros(DIMS))
    optimizer = keras.optimizers.Adam(0.05)
    optimizer.build([common])

    def embedded() -> tf.Tensor:
        return tf.math.l2_normalize(different + common, axis=1)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            new = Labelled(embedded(), labels)
            loss = gallery_contrast(
                new,
                tf.constant(gallery[:CLASSES]),
                Labelled(tf.constant(gallery), gallery_labels),
                temperature=0.1,
                own=0.3,
                beside=new if with_new_rivals else None,
            )
        optimizer.apply(tape.gradient(loss, [common]), [common])

    for _ in range(150):
        step()
    new = embedded()
    cosines = tf.matmul(new, new, transpose_b=True).numpy()
    return float(cosines[~np.eye(CLASSES, dtype=bool)].mean())


def test_images_that_are_hardly_recognised_do_not_gather_where_no_old_one_is():
    assert images_alike(with_new_rivals=False) > 0.8
    assert images_alike(with_new_rivals=True) < 0.1
