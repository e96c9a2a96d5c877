"""A user's own method in their own module, as the methods' page shows it, and an encoder wider than
the old one.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import compatibility
from bct_keras.evaluate.protocol import adopted
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.metrics.verification import Embedded

PAGE = Path(__file__).parents[1] / "bct_keras/methods/README.md"


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> str:
    """The page's own example, in a module where Python finds it."""
    (code,) = re.findall(r"```python\n(# my_methods\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_methods.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_methods:PullToOld"


def test_the_method_of_the_page_is_built_and_works(own_module):
    method = specs.build(METHODS, f"{own_module}(weight=5)", seed=0)
    new = tf.constant([[2.0, 0.0], [0.0, 1.0]])
    batch = {"old_embedding": tf.constant([[1.0, 0.0], [3.0, 0.0]])}
    # 5 * (1 - cos): the first looks the same way, the second stands at a right angle
    np.testing.assert_allclose(
        method.penalty(new, tf.constant([0, 1]), batch, None), [0.0, 5.0], atol=1e-6
    )


@pytest.mark.parametrize(
    ("table", "spec", "said"),
    [
        (METHODS, "sys:foo", "'sys:foo': sys has no 'foo' that can be called"),
        (
            METHODS,
            "os:getcwd",
            (
                "'os:getcwd' is not called, because it is no class, and a class of kind Method is"
                " needed"
            ),
        ),
        (METHODS, "builtins:dict", "'builtins:dict' makes a dict, and a Method is needed"),
        (METHODS, "builtins:min", "'builtins:min' is not called, because it is no class"),
        (HEADS, "{module}:PullToOld", "makes a PullToOld, and a Head is needed"),
        (PROTOCOLS, "os:getcwd", "because it does not say that it makes a Protocol: write it as a"),
        (PROTOCOLS, "builtins:dict", "because it does not say that it makes a Protocol: write it"),
    ],
)
def test_what_is_of_another_kind_is_refused(own_module, table, spec, said):
    with pytest.raises(InputError, match=said):
        specs.build(table, spec.format(module=own_module.partition(":")[0]))


def test_what_is_of_another_kind_is_refused_before_it_is_built(own_module):
    with pytest.raises(InputError, match="and a Head is needed"):
        specs.bind(HEADS, own_module, ("classes",))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("no_such_module:Method", "module no_such_module cannot be imported"),
        ("{module}:Nothing", "has no 'Nothing' that can be called"),
        ("{module}:PullToOld(strength=1)", "unknown argument 'strength'"),
        ("nothing", "known: .*mixbct.*, or your own as module:name"),
    ],
)
def test_a_mistake_in_its_name_is_told(own_module, spec, said):
    with pytest.raises(InputError, match=said):
        specs.build(METHODS, spec.format(module=own_module.partition(":")[0]))


class Fixed:
    """A protocol that measures in how many dimensions query and gallery were compared."""

    def embed(self, encoder):
        rows = Embedded(encoder.embed(np.zeros((4, 28, 28, 3), np.uint8)), np.arange(4))
        return rows, rows

    def measure(self, query, gallery):
        assert query.embeddings.shape == gallery.embeddings.shape
        return {"dims": query.embeddings.shape[1]}


def test_cross_test_takes_the_compatible_dims_and_self_test_all(tiny_encoder_path):
    old, new = load_encoder(tiny_encoder_path(4)), load_encoder(tiny_encoder_path(6))
    with pytest.raises(InputError, match=r"6 compatible dimensions and .* 4"):
        compatibility.self_and_cross_tests(adopted(Fixed()), old, new)
    new.compatible_dims = 4
    found = compatibility.self_and_cross_tests(adopted(Fixed()), old, new)
    assert [found[test]["dims"] for test in compatibility.TESTS] == [4, 4, 6]


def test_keras_keeps_the_example_a_layer(own_module):
    assert isinstance(specs.build(METHODS, own_module), keras.layers.Layer)
