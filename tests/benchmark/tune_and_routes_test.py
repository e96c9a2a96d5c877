"""A benchmark that tunes a method and has routes as rows, of one epoch each; then it goes on."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_backbones
import tiny_benchmarks
from tiny_benchmarks import run

FLAGS = f"""{tiny_benchmarks.FLAGS}
--source=synthetic(identities=24, images=6, image_size=28)
--split=class(old_share=0.3, test_share=0.34)
--dims=6
--old=weak: --head=softmax
--method=l2(weight=10)
--route=adapted: adapted(independent, adapter=linear)
--route=moved: moved(independent, adapter=procrustes)
--route=fused(l2)
--tune=2
--tune_share=0.5
"""
pytestmark = pytest.mark.long


def test_methods_are_tuned_routes_are_rows_and_nothing_is_done_twice(tmp_path):
    shutil.copy(tiny_backbones.__file__, tmp_path)
    (tmp_path / "benchmark.flags").write_text(FLAGS.strip() + "\n")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out/report/report.json").read_text())

    tuning = found["tuning"]
    assert (tuning["identities"], tuning["seed"], tuning["budget"]) == (12, 4, 2)
    (method,) = tuning["methods"]
    assert (method["name"], len(method["tried"]), method["possible"]) == ("l2", 2, 16)
    (chosen,) = (tmp_path / "out/runs/open-class/weak").glob("l2-seed3-*")
    flags = (chosen / "flags.txt").read_text()
    assert f"--method={method['chosen']}" in flags

    rows = {row["method"]: row for row in found["cells"]}
    assert list(rows) == ["independent", "l2", "adapted", "moved", "fused(l2)"]
    for route, network in {
        "adapted": "independent",
        "moved": "independent",
        "fused(l2)": "l2",
    }.items():
        of_route, of_network = (rows[name]["metrics"]["top-1"] for name in (route, network))
        assert of_route["self"] == of_network["self"]
        assert of_route["tax"] == of_network["tax"]
    for row in rows.values():
        assert 0 <= row["hot_refresh"]["top-1"]["mean"] <= 1

    files = contents(tmp_path / "out")
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("of which 0 are missing") == 2
    assert contents(tmp_path / "out") == files


def contents(folder: Path) -> dict[Path, int]:
    """Returns when each file of the runs was written."""
    paths = [*(folder / "runs").rglob("*"), *(folder / "tuning").rglob("*")]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}
