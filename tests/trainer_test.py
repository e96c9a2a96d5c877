import pytest
import tensorflow as tf

from bct_keras.data.dataset import open_data_set
from bct_keras.methods import METHODS
from bct_keras.methods.method import Method, Training
from bct_keras.recipe import Recipe
from bct_keras.trainer import Watch, train


class Watching(Method):
    """Keeps how long it was told that the run would be, and the last step that it saw."""

    steps: int

    def prepare(self, training: Training):
        super().prepare(training)
        self.steps = training.steps

    def build(self, input_shape=None):
        self.last = self.add_weight(name="last", shape=(), dtype="int64", initializer="zeros", trainable=False)

    def penalty(self, new, labels, batch, head):
        self.last.assign(batch["step"])
        return super().penalty(new, labels, batch, head)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_method_is_told_of_as_many_steps_as_it_sees(data_root, tmp_path, monkeypatch, micro_batches):
    # AdvBCT, which fades with the share of them that is done, would else be through after a quarter of the run.
    method = Watching()
    monkeypatch.setitem(METHODS, "watching", lambda: method)
    recipe = Recipe(
        backbone="iresnet_small(width=4)",
        dims=8,
        head="arcface",
        method="watching",
        optimizer="sgd",
        schedule="cosine",
        learning_rate=0.01,
        batch_size=8,
        epochs=2,
        mirror=False,
        seed=0,
        micro_batches=micro_batches,
    )
    watch = Watch(checkpoint_steps=0, checkpoints_kept=1, nan_limit=10, validation=None)
    train(recipe, open_data_set(data_root / "new"), None, tf.distribute.get_strategy(), tmp_path / "run", watch)
    assert method.steps == 2 * 4 * micro_batches  # 36 images
    assert int(method.last.numpy()) == method.steps - 1
