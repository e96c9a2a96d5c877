"""How long `--help` and a wrong flag take, of every command: JSON lines, the median of five each.

python tests/speed/help.py                  some seconds
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bct_keras.__main__ import COMMANDS
from bct_keras.gallery.__main__ import ACTIONS

REQUIRED = 0.5  # seconds
ROUNDS = 5
ROOT = Path(__file__).parents[2]


def seconds(words: list[str], status: int) -> float:
    """Returns the median of what `bct WORDS` takes, which has to end with this status."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "bct_keras", *words], cwd=ROOT, capture_output=True, check=False
        )
        taken.append(time.perf_counter() - start)
        assert done.returncode == status, done.stderr
    return statistics.median(taken)


def main() -> None:
    told = [[], *([name] for name in COMMANDS), *(["gallery", action] for action in ACTIONS)]
    asked = [([*words, "--help"], 0) for words in told]
    asked += [([*words, "--flagfil=x"], 1) for words in told]
    asked += [(["trian"], 1), (["gallery", "serch"], 1), (["gallery", "search", "--top=x"], 1)]
    for words, status in asked:
        value = seconds(words, status)
        figure = {
            "name": " ".join(["bct", *words]),
            "value": round(value, 3),
            "unit": "s",
            "against": f"{REQUIRED} s",
            "ratio": round(value / REQUIRED, 2),
        }
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
