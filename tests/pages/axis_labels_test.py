import itertools
import math

import pytest
from matplotlib.figure import Figure

from bct_keras.pages import axis_labels, plots


@pytest.mark.parametrize(
    ("low", "high"), [(0.0022, 0.0167), (0.074, 0.93), (0.51, 0.58), (0.15, 1.0), (0.01, 0.25)]
)
def test_labels_of_a_narrow_axis_stand_apart(low, high):
    axes = Figure().add_subplot()
    axes.set(xscale="log", xlim=(low, high))
    axis_labels.plain_numbers(axes.xaxis)
    places = [place for place in axes.xaxis.get_majorticklocs() if low <= place <= high]
    assert len(places) > 1
    across = [math.log(place / low) / math.log(high / low) for place in places]
    gaps = [after - before for before, after in itertools.pairwise(across)]
    assert min(gaps) >= axis_labels.LEAST_GAP
    assert axes.xaxis.get_minor_formatter()(places[0]) == ""


def test_a_wide_axis_has_powers_of_ten():
    axes = Figure().add_subplot()
    axes.set(xscale="log", xlim=(1e-4, 1))
    axis_labels.plain_numbers(axes.xaxis)
    labels = [axis_labels.plain_number(place) for place in axes.xaxis.get_majorticklocs()]
    assert {"1e-4", "0.001", "0.01", "0.1", "1"} <= set(labels)


def test_no_curve_runs_through_the_legend():
    shares = [0.0, 0.5, 1.0]
    result = {
        "old/old": {"top-1": 0.9},
        "hot_refresh": {"share": shares, "metrics": {"top-1": [0.1, 0.9, 0.5]}},
        "baselines": {"rank_merging": {"top-1": [0.9, 0.1, 0.9]}},
    }
    (drawing,) = plots.plots_of(result)
    figure = plots.drawn(drawing.draw)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_window_extent().x1 <= figure.bbox.x1
