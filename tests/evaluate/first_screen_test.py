"""What the first screen of a report's page has: its heading, its plots and what they show."""

import pytest

from bct_keras.evaluate import backfills, headings, page
from bct_keras.pages.document import Plot


@pytest.mark.parametrize(
    ("new", "moved", "heading", "colour"),
    [
        (
            None,
            "undecided",
            "Undecided: these identities are too few to tell about new queries once the adapter "
            "has moved the gallery (new/moved)",
            "",
        ),
        (
            "not compatible",
            "compatible",
            "Compatible: the old gallery can be searched by new queries once the adapter has moved "
            "the gallery (new/moved); not compatible: do not search the old gallery by new queries "
            "as they are (new/old)",
            "",
        ),
        (
            "compatible",
            "compatible",
            "Compatible: the old gallery can be searched by new queries as they are (new/old), and "
            "by new queries once the adapter has moved the gallery (new/moved)",
            "good",
        ),
    ],
)
def test_verdicts_on_routes_are_a_sentence(new, moved, heading, colour):
    route = {"verdict": moved, "because": "top-1 says so"}
    found = {"verdict": new, "because": "top-1", "routes": {"moved": route}}
    assert headings.title(found) == heading
    assert headings.colour(found) == colour
    assert headings.lead(found) == ("" if new else "Top-1 says so.")


def test_the_first_plots_are_those_that_a_backfill_follows():
    captions = ["Hot refresh: a", "Mixed galleries, random: b", "ROC: c", "Mixed galleries, far: d"]
    plots = [Plot(caption, "<svg></svg>") for caption in captions]
    assert page.first_plots_of(plots) == [plots[1], plots[3]]
    assert page.first_plots_of(plots[:1]) == plots[:1]


def test_a_drop_during_a_backfill_is_told():
    found = {"share": [0.0, 0.5, 1.0], "metrics": {"top-1": [0.75, 0.25, 0.875]}}
    (told,) = backfills.sentences({"old/old": {"top-1": 0.5}, "hot_refresh": found})
    assert told == (
        "During a backfill, top-1 is lowest, 0.2500, with 50% re-embedded, below the old encoder's "
        "own of today (0.5000); it ends at 0.8750. The verdict is on the gallery before, with "
        "nothing re-embedded."
    )
    (told,) = backfills.sentences({"old/old": {"top-1": 0.25}, "hot_refresh": found})
    assert "is never below the old encoder's own of today (0.2500)" in told
    curve = {"order": "random", "merged_by": "odds", "metrics": {"top-1": [0.5, 0.25, 0.5]}}
    mixed = {"share": [0.0, 0.5, 1.0], "curves": [curve | {"route": "new"}]}
    result = {"old/old": {"top-1": 0.5}, "hot_refresh": found, "mixed": mixed}
    (told,) = backfills.sentences(result)
    assert "is lowest, 0.2500, with 50% re-embedded" in told
    assert "it ends at 0.5000" in told
    mixed["curves"][0]["metrics"] = {"top-1": [0.25, 0.5, 0.5]}  # the verdict tells that
    (told,) = backfills.sentences(result)
    assert told.endswith("it ends at 0.5000.")
