"""Tests methods that read the old embeddings as a whole: prototypes, boundaries, the old head.

UniBCT, which reads them again between epochs, has a file of its own.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bct_keras.data.dataset import open_data_set
from bct_keras.data.embeddings import open_embeddings
from bct_keras.embed import class_store
from bct_keras.embed.class_store import StoredOldEmbeddings
from bct_keras.errors import InputError
from bct_keras.methods.advbct import AdvBCT
from bct_keras.methods.bct import BCT
from bct_keras.methods.fd import FD
from bct_keras.methods.lwf import LwF
from bct_keras.train import old_encoders

sys.path.insert(0, str(Path(__file__).parent))
from prepared import DIMS, TRAINING, class_means, random_new, ready, unit


def test_features_of_classes_are_computed_once(stored, monkeypatch):
    stored.feature("prototypes")
    monkeypatch.setattr(StoredOldEmbeddings, "computed", lambda self: pytest.fail("computed again"))
    assert stored.feature("radii").shape == (6,)


@pytest.fixture
def own_features(stored, tmp_path) -> StoredOldEmbeddings:
    """Returns features of classes that a test may damage."""
    shutil.copytree(stored.shards.folder, tmp_path / "new-by-old")
    classes = StoredOldEmbeddings(replace(stored.shards, folder=tmp_path / "new-by-old"))
    classes.feature("prototypes")
    return classes


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def change(path: Path) -> None:
    np.save(path, np.load(path) + 1)


@pytest.mark.parametrize("damage", [cut_off, change, Path.unlink])
def test_features_of_classes_that_were_damaged_are_refused(own_features, damage):
    damage(own_features.folder / "prototypes.npy")
    said = (
        r"prototypes\.npy: these class features are missing or were changed; remove"
        rf" {own_features.folder};"
    )
    with pytest.raises(InputError, match=said):
        own_features.feature("prototypes")
    shutil.rmtree(own_features.folder)
    assert own_features.feature("prototypes").shape == (6, DIMS)


def test_features_of_classes_by_another_formula_are_not_taken(own_features, monkeypatch):
    before = own_features.folder
    monkeypatch.setattr(class_store, "FORMULAS", class_store.FORMULAS + 1)
    own_features.feature("prototypes")
    assert own_features.folder != before


def test_what_is_made_from_the_folder_one_stands_in_lies_beside_it(
    data_root, tiny_encoder_path, tmp_path, monkeypatch
):
    faces = Path(shutil.copytree(data_root, tmp_path / "faces"))
    monkeypatch.chdir(faces / "new")
    made = old_encoders.embeddings(tiny_encoder_path(DIMS), open_data_set("."), DIMS).folder
    monkeypatch.chdir(made)
    classes = StoredOldEmbeddings(old_encoders.embeddings(Path("."), open_data_set("../new"), DIMS))
    classes.feature("prototypes")
    assert made.parent == classes.folder.parent == faces
    assert classes.folder.name.startswith(f"{made.name}-classes-")


def test_bct_is_the_cross_entropy_with_the_old_class_means(stored, old, labels):
    new = random_new(36)
    logits = 4.0 * unit(new) @ class_means(old, labels).T
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(36), labels]
    found = ready(BCT(scale=4.0, weight=2.0), stored).penalty(
        tf.constant(new), tf.constant(labels), {}, None
    )
    np.testing.assert_allclose(found, 2.0 * expected, rtol=1e-4)


def test_fd_weighs_up_rows_where_the_old_encoder_is_right(stored, old, labels):
    new = random_new(36)
    nearest = (unit(old) @ class_means(old, labels).T).argmax(1)
    assert 0 < np.mean(nearest == labels) < 1
    expected = np.where(nearest == labels, 6.0, 1.0) * np.square(unit(new) - unit(old)).sum(1)
    batch = {"old_embedding": tf.constant(old)}
    found = ready(FD(base=1.0, focus=5.0), stored).penalty(
        tf.constant(new), tf.constant(labels), batch, None
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_lwf_is_least_where_the_old_head_says_the_same_of_both(stored, old, labels):
    method = ready(LwF(temperature=2.0), stored)
    same = method.penalty(
        tf.constant(old), tf.constant(labels), {"old_embedding": tf.constant(old)}, None
    )
    logits = (old @ np.eye(DIMS, 3) + [0, 1, 2]) / 2.0
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(same, -(shares * np.log(shares)).sum(1), rtol=1e-4)  # the entropy
    other = method.penalty(
        tf.constant(random_new(36)), tf.constant(labels), {"old_embedding": tf.constant(old)}, None
    )
    assert np.all(other >= same)


def test_lwf_without_an_old_head_says_what_to_do(stored, tmp_path):
    with pytest.raises(
        InputError, match=r"nowhere\.npz cannot be read: .* give lwf\(old_head=FILE\.npz\)"
    ):
        LwF(old_head=str(tmp_path / "nowhere.npz")).prepare(stored, TRAINING)
    np.savez(tmp_path / "narrow.npz", class_weights=np.zeros((3, 5), np.float32))
    with pytest.raises(
        InputError, match=r"narrow\.npz: `class_weights` has to be there, \[classes, 8\]"
    ):
        LwF(old_head=str(tmp_path / "narrow.npz")).prepare(stored, TRAINING)


def test_advbct_pulls_only_what_is_outside_its_boundary(stored, labels):
    method = ready(AdvBCT(), stored)
    centres = stored.feature("centres")[labels]
    radii = stored.feature("radii")[labels]
    new = random_new(36)
    boundaries = radii + (0.4 - radii) / (1 + np.exp(-method.elastic.numpy()[labels]))
    excess = np.maximum(np.linalg.norm(unit(new) - centres, axis=1) - boundaries, 0)
    found = method.point_to_set(tf.constant(unit(new)), tf.constant(labels))
    assert np.mean(found) == pytest.approx(excess[excess > 0].mean(), rel=1e-4)
    np.testing.assert_array_equal(
        method.point_to_set(tf.constant(centres), tf.constant(labels)), np.zeros(36)
    )


def test_a_wider_encoder_is_compatible_in_its_first_coordinates(stored, old, labels):
    wide = np.concatenate([random_new(36), 100 * random_new(36)], axis=1)
    method = ready(BCT(), stored)
    narrow = method.penalty(tf.constant(wide[:, :DIMS]), tf.constant(labels), {}, None)
    np.testing.assert_allclose(
        method.penalty(tf.constant(wide), tf.constant(labels), {}, None), narrow, rtol=1e-6
    )


def test_a_damaged_shard_of_old_embeddings_is_found(stored, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in Path(stored.shards.folder).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    next(iter(sorted(folder.glob("*.old_embedding.npy")))).write_bytes(b"damaged")
    with pytest.raises(InputError, match="missing or was changed"):
        open_embeddings(folder, stored.shards.data)
