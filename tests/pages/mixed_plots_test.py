import numpy as np
from matplotlib.figure import Figure

from bct_keras.pages import mixed_plots
from bct_keras.pages.plots import plots_of

SHARES = [0.0, 0.5, 1.0]


def curve(route: str, merged_by: str, order: str, top_1: list[float]) -> dict:
    return {
        "route": route,
        "merged_by": merged_by,
        "order": order,
        "metrics": {"top-1": top_1},
        "alone": {"old": [0.5, 0.3, 0.0], "new": [0.0, 0.4, 0.8]},
    }


CURVES = [
    curve("new", "cosine", "random", [0.5, 0.6, 0.8]),
    curve("new", "rate", "random", [0.5, 0.5, 0.8]),
    curve("fused", "rate", "random", [0.6, 0.7, 0.8]),
    curve("fused", "rate", "farthest", [0.6, 0.75, 0.8]),
]
RESULT = {"old/old": {"top-1": 0.45}, "mixed": {"share": SHARES, "curves": CURVES}}


def test_of_each_route_the_first_curve_of_an_order_is_shown():
    shown = mixed_plots.shown(CURVES, "random")
    assert [(each["route"], each["merged_by"]) for each in shown] == [
        ("new", "cosine"),
        ("fused", "rate"),
    ]


def test_the_caption_of_hot_refresh_says_whether_a_backfill_goes_so():
    two_spaces = {"mixed": {"curves": [curve("new", "odds", "random", [0.5, 0.6, 0.8])]}}
    assert "does not go so" in mixed_plots.caption_of_refresh(two_spaces)
    assert "the blue line" in mixed_plots.caption_of_refresh(RESULT)
    assert mixed_plots.caption_of_refresh({}).endswith("as a backfill does it")


def test_each_order_has_its_plot():
    names = [drawing.name for drawing in plots_of(RESULT)]
    assert names == ["mixed_1", "mixed_2"]
    assert not list(plots_of({"old/old": {"top-1": 0.45}}))


def test_a_plot_has_one_list_the_better_part_and_the_old_encoder():
    axes = Figure().add_subplot()
    mixed_plots.draw(axes, RESULT, "random")
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()]
    better = [0.5, 0.4, 0.8]
    assert drawn == [[0.5, 0.6, 0.8], better, [0.6, 0.7, 0.8], better, [0.45, 0.45]]
