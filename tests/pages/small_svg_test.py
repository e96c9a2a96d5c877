import re

from bct_keras.pages import plots


def test_an_svg_has_no_bulk():
    """A report with all routes has seven plots, and is to stay below 400 KB."""

    def draw(axes):
        axes.plot([0, 1], [0, 1 / 3])

    svg = plots.as_svg(draw, "x")
    for bulk in ("<g id=", "rotate(-0", "DejaVu", "\n", "> <"):
        assert bulk not in svg
    assert not re.search(r' (d|x|y)="[^"]*\d\.\d{3}', svg)
    # Names that are needed stay.
    (clip,) = re.findall(r'<clipPath id="([^"]*)"', svg)
    assert clip.startswith("x-")
    assert f"url(#{clip})" in svg
