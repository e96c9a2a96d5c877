"""The command that prepares a data set at another size."""

import pytest

from bct_keras.train import resized


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("folder(photos, image_size=64)", "folder(photos, image_size=28)"),
        ("folder('my photos', 64, group=x)", "folder('my photos', 28, group=x)"),
        ("folder(photos)", "folder(photos, image_size=28)"),
        ("recordio(faces, decode=True)", "recordio(faces, decode=True, image_size=28)"),
        ("my_module:Mine(photos)", None),
    ],
)
def test_a_source_keeps_all_but_its_size(source, expected):
    assert resized.resized(source, 28) == expected
