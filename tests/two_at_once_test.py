"""Two real commands into one folder at once: none of them loses anything, and both say what is
there.
"""

import json

import forked
import pytest

pytestmark = pytest.mark.long


def test_two_reports_into_one_folder_at_once(data_root, tiny_encoder_path, tmp_path):
    out = tmp_path / "reports" / "x"
    flags = [
        f"--old={tiny_encoder_path(4)}",
        f"--protocol=retrieval({data_root / 'test'})",
        f"--out={out}",
    ]
    both = [forked.start("-m", "bct_keras.evaluate", *flags) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    tables = [[line for line in text.splitlines() if "waiting for" not in line] for text, _ in said]
    assert tables[0] == tables[1]
    assert tables[0][-2] == f"report: {out / 'report.html'}"
    assert tables[0][-1].startswith("next: bct evaluate ")
    assert set(json.loads((out / "report.json").read_text())["protocols"]) == {
        f"retrieval({data_root / 'test'})"
    }
    assert sorted(path.name for path in out.parent.iterdir()) == ["embeddings", "x"]
    assert not list(out.parent.rglob("*partial*"))
