import json

import pytest

from bct_keras.benchmark import report, tables
from bct_keras.errors import InputError


def found(own: float, cross: float) -> dict:
    metrics = {"top-1": 1.0, "mAP": 0.5}
    return {
        "old/old": {name: 0.2 * share for name, share in metrics.items()},
        "new/new": {name: own * share for name, share in metrics.items()},
        "new/old": {name: cross * share for name, share in metrics.items()},
        "above_old": dict.fromkeys(metrics, cross > 0.2),
        "verdict": "compatible" if cross > 0.2 else "not compatible",
        "seconds_per_step": 0.5,
    }


RESULTS = {
    ("open-class", "weak", "independent"): {0: found(0.6, 0.0), 1: found(0.7, 0.1)},
    ("open-class", "weak", "<b>|mine"): {0: found(0.6, 0.3), 1: found(0.7, 0.1)},
}


def findings(metric: str = "top-1", asked: bool = True, results=RESULTS) -> dict:
    return report.findings(
        results, "independent", metric, {"a cell": "its reason"}, {"--seeds": ["0", "1"]}, asked
    )


def test_the_best_method_is_in_the_title():
    assert (
        findings()["title"]
        == "<b>|mine comes first of 2 methods by top-1, undecided over 2 seeds against independent"
    )


def test_the_title_says_against_which_methods_the_first_is_undecided():
    def row(name: str, **facts) -> dict:
        return {
            "method": name,
            "unranked": None,
            "behind_first": True,
            "score": {"mean": 0.5, "values": [1, 2]},
        } | facts

    first, other = row("first", behind_first=False), row("other")
    assert report.headline([first, other], "top-1") == "first comes first of 2 methods by top-1"
    close = [row(name, behind_first=False) for name in "abcde"]
    title = report.headline([first, *close, other], "top-1")
    assert title == (
        "first comes first of 7 methods by top-1, undecided over 2 seeds against a, b, c and 2 more"
    )
    lost = row("lost", unranked="1 of its 2 cells could not be measured", behind_first=False)
    assert (
        report.headline([first, other, lost], "top-1") == "first comes first of 3 methods by top-1"
    )


def test_where_no_method_has_a_rank_the_title_says_why():
    """All cells were measured: the network without constraint is no better than the old encoder."""
    level = {("open-class", "weak", name): {0: found(0.2, 0.1)} for name in ("independent", "mine")}
    why = (
        "the network without constraint is not above the old encoder by top-1 "
        "(open-class, old encoder weak, seed 0)"
    )
    assert findings(results=level)["title"] == f"No method has a rank: {why}"
    assert f"| mine | {why} |" in report.as_markdown(findings(results=level)).splitlines()


def test_where_none_is_above_the_old_encoder_none_is_recommended():
    worse = {("open-class", "weak", name): {0: found(0.6, 0.1)} for name in ("independent", "mine")}
    expected = "No method is to be recommended: none is above the old encoder by top-1"
    assert findings(results=worse)["title"] == expected


def test_a_metric_that_was_not_measured():
    with pytest.raises(InputError, match=r"^metric=top1 was not measured; there are: top-1, mAP$"):
        findings("top1")
    assert findings("TAR@FAR=1e-3", asked=False)["metric"] == "top-1"


def test_a_cell_that_is_not_above_the_old_encoder_says_where_and_in_how_many_seeds():
    lines = report.as_markdown(findings()).splitlines()
    # 0.3 - 0.2 and 0.1 - 0.2, whose standard deviation is 0.2 / sqrt(2); half of that for mAP
    assert "| open-class, weak, \\<b\\>\\|mine | top-1 | 1 of 2 | +0.0000 ± 0.1414 |" in lines
    assert "| open-class, weak, \\<b\\>\\|mine | mAP | 1 of 2 | +0.0000 ± 0.0707 |" in lines
    assert "| a cell | its reason |" in lines


def test_verdicts_and_metrics_are_counted_over_seeds():
    lines = report.as_markdown(findings()).splitlines()
    (row,) = [line for line in lines if line.startswith("| \\<b\\>\\|mine | 0.6500")]
    # seed 0 on both metrics, seed 1 on none
    assert row.split(" | ")[-3:-1] == ["1 compatible, 1 not compatible", "2 of 4"]
    assert "| \\<b\\>\\|mine | 1 compatible, 1 not compatible | 50% | - | - | 1.00 |" in lines


def test_several_cells_are_told_at_a_glance():
    other = {("open-data", "weak", "<b>|mine"): {0: found(0.5, 0.3)}}
    sections = {each.heading: each for each in tables.sections(findings(results=RESULTS | other))}
    assert sections["Gain by top-1"].rows == [
        ["method", "open-class, weak", "open-data, weak"],
        ["independent", "-0.1500 ± 0.0707", "-"],
        ["<b>|mine", "+0.0000 ± 0.1414", "+0.1000"],
    ]
    assert not any(each.heading.startswith("Gain by") for each in tables.sections(findings()))


def test_the_folder_is_written_anew_and_no_name_is_taken_for_html(tmp_path):
    out = tmp_path / "report"
    for results in (RESULTS, dict(list(RESULTS.items())[:1])):
        report.write(findings(results=results), {"seeds": 2}, out)
        written = json.loads((out / "report.json").read_text())
        assert len(written["cells"]) == len(results)
        assert json.loads((out / "manifest.json").read_text())["kind"] == "benchmark"
        page = (out / "report.html").read_text()
        assert "<b>" not in page
        assert ("&lt;b&gt;|mine" in page) == (len(results) == 2)
    assert {path.name for path in tmp_path.iterdir()} == {"report"}


def test_an_old_encoder_that_is_named_by_its_path_has_a_plot(tmp_path):
    results = {
        ("open-class", "encoders/old.keras", method): {0: found(0.6, 0.1)}
        for method in ("independent", "mine")
    }
    report.write(findings(results=results), {}, tmp_path / "report")
    assert (tmp_path / "report/open-class_encoders_old.keras.png").is_file()


def test_where_nothing_could_be_measured_the_page_says_what_failed(tmp_path):
    nothing = findings(results={}, asked=False)
    report.write(nothing, {}, tmp_path / "report")
    assert nothing["title"] == "No cell could be measured"
    assert "its reason" in (tmp_path / "report/report.html").read_text()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        report.write(findings(), {}, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
