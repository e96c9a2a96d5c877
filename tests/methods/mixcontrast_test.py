import numpy as np
import tensorflow as tf

from bct_keras.methods.mixbct import MixBCT
from bct_keras.methods.mixcontrast import MixContrast

LABELS = np.array([0, 0, 1, 2, 2, 2])


def embeddings(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(LABELS), 4)).astype(np.float32)


def batch(old: np.ndarray) -> dict[str, tf.Tensor]:
    return {"old_embedding": tf.constant(old), "credible": tf.ones(len(old)), "step": tf.constant(5, tf.int64)}


def penalty(method: MixContrast, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return method.penalty(tf.constant(new), tf.constant(LABELS), batch(old), None).numpy()


def test_penalty_is_the_cross_entropy_of_its_own_old_embedding_among_those_of_other_classes():
    new, old = embeddings(1), embeddings(2)
    unit_new, unit_old = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (new, old))
    expected = []
    for row, label in enumerate(LABELS):
        rivals = [unit_new[row] @ unit_old[other] for other in range(6) if other == row or LABELS[other] != label]
        own = unit_new[row] @ unit_old[row]
        expected.append(3.0 * (np.log(np.sum(np.exp(np.array(rivals) / 0.2))) - own / 0.2))
    np.testing.assert_allclose(penalty(MixContrast(weight=3.0, temperature=0.2), new, old), expected, rtol=1e-5)


def test_old_embeddings_of_its_own_class_do_not_repel():
    new, old = embeddings(1), embeddings(2)
    before = penalty(MixContrast(), new, old)
    old[1] = new[0]  # of the class of row 0, and as near to it as can be
    after = penalty(MixContrast(), new, old)
    assert after[0] == before[0]
    assert (after[2:] != before[2:]).all()


def test_the_head_is_given_what_mixbct_gives_it():
    new, rows = tf.constant(embeddings(1)), batch(embeddings(2))
    mixed = MixContrast(mix_ratio=0.5, seed=3).head_input(new, rows)
    np.testing.assert_array_equal(mixed, MixBCT(mix_ratio=0.5, seed=3).head_input(new, rows))
    assert (mixed != new).numpy().any(axis=1).sum() == 3


def test_a_wider_embedding_is_searched_with_by_its_first_coordinates():
    new, old = embeddings(1), embeddings(2)
    wide = MixContrast()
    wide.compatible_dims = 4
    found = penalty(wide, np.concatenate([new, 10 * embeddings(3)], axis=1), old)
    np.testing.assert_allclose(found, penalty(MixContrast(), new, old), rtol=1e-5)
