from matplotlib.figure import Figure

from bct_keras.pages import gain_plots
from bct_keras.pages.gain_plots import GainBar


def test_the_first_gain_is_at_the_top_and_each_has_its_interval():
    axes = Figure().add_subplot()
    bars = [GainBar("moved", 0.1, (0.05, 0.15)), GainBar("numbers alone", -0.2, None)]
    gain_plots.draw(axes, bars)
    drawn = [line.get_xydata().tolist() for line in axes.lines]  # pyright: ignore
    assert [[0.05, 0.0], [0.15, 0.0]] in drawn
    assert [[0.1, 0.0]] in drawn
    assert [[-0.2, 1.0]] in drawn
    assert [label.get_text() for label in axes.get_yticklabels()] == ["moved", "numbers alone"]
    bottom, top = axes.get_ylim()
    assert bottom > top
