"""The README's Python runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_the_library_from_python(tmp_path):
    section = (ROOT / "README.md").read_text().partition("## From Python")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    # A process of its own, as a reader's is: whatever other tests have set does not help it.
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{found[1]}"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    last = ended.stdout.strip().splitlines()[-1]
    assert re.match("compatible|not compatible|undecided", last), last
    assert (tmp_path / "new.keras").exists()
