"""Simulates how often the verdict is right: encoders whose difference is known, over many samples
of people.

python tests/simulate_verdict.py --trials=400

Prints one JSON line per case and metric: `cover`, the share of samples whose 95 % interval holds
the true gain, and one line per case with the share of each verdict. The true gain is the mean over
all samples of the case. A sample is `identities` people with 4 images in the gallery and 4 queries
each; some people are harder than others.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bct_keras.evaluate import compatibility
from bct_keras.evaluate.retrieval import measure
from bct_keras.metrics import gains
from bct_keras.metrics.measured import Measured
from bct_keras.metrics.verdict import Rule
from bct_keras.metrics.verification import Embedded

IMAGES = 4  # of each person, in the gallery and as queries
HARDNESS = 0.4  # spread of the logarithm of how much the images of a person differ
WITHIN = 0.6  # how much the images of a person differ for any encoder


@dataclass(frozen=True)
class Case:
    """Two encoders: the less noise, the better.

    `dims` are those of the embeddings: the more, the easier.
    """

    name: str
    identities: int
    old_noise: float
    new_noise: float
    dims: int = 24


EQUAL = [Case("equal", identities, 1.0, 1.0) for identities in (50, 200, 800)]
# Truly better: TAR at FAR 1e-3 is 0.05 to 0.07 higher.
BETTER = [Case("better", identities, 1.0, 0.78) for identities in (50, 200, 800)]
WORSE = [Case("worse", 200, 0.78, 1.0)]
# TAR and top-1 of 0.93 to 0.99, equal and better.
CEILING = [Case("ceiling, equal", 50, 0.05, 0.05), Case("ceiling, better", 50, 0.3, 0.15, dims=48)]
CASES = [*EQUAL, *BETTER, *WORSE, *CEILING]


def sample(random: np.random.Generator, case: Case) -> tuple[Measured, Measured]:
    """Returns what retrieval measures of one sample of people: the old encoder's queries, and the
    new one's.
    """
    labels = np.repeat(np.arange(case.identities), IMAGES)
    hardness = np.exp(HARDNESS * random.normal(size=case.identities))[labels, None]
    shape = (len(labels), case.dims)
    centres = random.normal(size=(case.identities, case.dims))[labels]
    queries, gallery = (centres + WITHIN * hardness * random.normal(size=shape) for _ in range(2))

    def embedded(images: np.ndarray, noise: float) -> Embedded:
        seen = images + noise * hardness * random.normal(size=shape)
        return Embedded(
            (seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32), labels
        )

    entries = embedded(gallery, case.old_noise)
    old, new = (
        measure(embedded(queries, noise), entries) for noise in (case.old_noise, case.new_noise)
    )
    return old, new


def judged(old: Measured, new: Measured) -> tuple[dict[str, Any], str]:
    """Returns what a report says of one protocol, and the word of the verdict."""
    result = (
        {"old/old": old.metrics, "new/old": new.metrics}
        | gains.gains(old, new)
        | gains.evidence(old, new)
    )
    verdict = compatibility.judge({"simulated": result}, Rule())
    assert verdict
    return result, verdict.word


def simulate(case: Case, trials: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yields the figures of one case."""
    random = np.random.default_rng([seed, case.identities])
    results, verdicts = [], Counter()
    for _ in range(trials):
        result, word = judged(*sample(random, case))
        results.append(result)
        verdicts[word] += 1
    facts = {"case": case.name, "identities": case.identities, "trials": trials}
    for metric in results[0]["gain"]:
        values = np.array([result["gain"][metric] for result in results])
        low, high = np.array([result["interval"][metric] for result in results]).T
        words = [result["word"][metric] for result in results]
        truth = values.mean()
        yield facts | {
            "metric": metric,
            "old": round(float(np.mean([result["old/old"][metric] for result in results])), 4),
            "gain": round(float(truth), 4),
            "cover": round(float(np.mean((low <= truth) & (truth <= high))), 4),
            "better": round(words.count("better") / trials, 4),
            "worse": round(words.count("worse") / trials, 4),
        }
    yield facts | {"verdicts": {word: count / trials for word, count in sorted(verdicts.items())}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=400, help="samples of each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--cases", default="", help="only those whose name and identities begin so, as in equal-50"
    )
    asked = parser.parse_args()
    for case in CASES:
        if f"{case.name}-{case.identities}".startswith(asked.cases):
            for line in simulate(case, asked.trials, asked.seed):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
