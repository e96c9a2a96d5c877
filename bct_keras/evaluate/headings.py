"""Sets the heading of a report's page: the verdict as a sentence, its colour and its reason."""

from collections.abc import Mapping
from typing import Any

from bct_keras.evaluate.summary import MEANINGS, judged
from bct_keras.metrics.verdict import COMPATIBLE, NOT_COMPATIBLE, UNDECIDED

SO_FAR_WORSE = f"{UNDECIDED}, and it looks worse so far"
SENTENCES = {
    COMPATIBLE: "queries of the new encoder can be searched in the old gallery",
    UNDECIDED: "these identities are too few to tell",
    SO_FAR_WORSE: "these identities are too few to tell",
    NOT_COMPATIBLE: "do not search the old gallery with the new encoder",
}
OF_ROUTES = {
    COMPATIBLE: "the old gallery can be searched by",
    UNDECIDED: "these identities are too few to tell about",
    SO_FAR_WORSE: "these identities are too few to tell about",
    NOT_COMPATIBLE: "do not search the old gallery by",
}
COLOURS = {COMPATIBLE: "good", NOT_COMPATIBLE: "bad", SO_FAR_WORSE: "doubt"}


def title(report: Mapping[str, Any]) -> str:
    """Returns the verdict, or those on all routes, as a sentence."""
    words = words_of(report)
    if "candidates" in report and not words:
        return "A verdict on each candidate"
    if not words:
        return "Self-test"
    parts = []
    for word, sentence in SENTENCES.items():
        tests = [test for test, found in words.items() if found == word]
        if tests and "routes" in report:
            whose = ", and by ".join(f"{MEANINGS[test]} ({test})" for test in tests)
            parts.append(f"{word}: {OF_ROUTES[word]} {whose}")
        elif tests:
            parts.append(f"{word}: {sentence}")
    return capitalised("; ".join(parts))


def colour(report: Mapping[str, Any]) -> str:
    """Returns the class of the heading; none where verdicts differ, or tell nothing yet."""
    words = set(words_of(report).values())
    return COLOURS.get(words.pop(), "") if len(words) == 1 else ""


def lead(report: Mapping[str, Any]) -> str:
    """Returns why, where the heading tells one verdict alone."""
    reasons = [facts["because"] for facts in judged(report).values()]
    if len(reasons) != 1:
        return ""
    return f"{capitalised(reasons[0])}."


def words_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Returns the word of each verdict, by the test that it is on."""
    words = {}
    for test, facts in judged(report).items():
        words[test] = SO_FAR_WORSE if facts.get("looks_worse") else facts["verdict"]
    return words


def capitalised(text: str) -> str:
    """Returns a text with a capital letter in front."""
    return text[:1].upper() + text[1:]
