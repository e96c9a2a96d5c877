"""Which places of the ranking the seeds do not tell apart, and how the page says it."""

from bct_keras.benchmark.ranking import groups, tied
from bct_keras.benchmark.ranking_tables import not_told_apart, ranges


def ranked(*scores: list[float] | None) -> list[dict]:
    rows = []
    for values in scores:
        rows.append({"unranked": None if values else "why", "score": {"values": values}})
    for row in rows:
        row["tied"] = tied(row, rows)
    return rows


def test_places_are_tied_where_the_difference_of_scores_leaves_zero_in():
    # over three seeds: the first is ahead by 0.5 each time, the next two change places
    rows = ranked([0.9, 0.91, 0.9], [0.4, 0.3, 0.41], [0.3, 0.39, 0.4], [0.1, 0.1, 0.11], None)
    assert [row["tied"] for row in rows] == [[], [3], [2], [], []]
    assert groups(rows) == [(2, 3)]
    assert not_told_apart(rows) == "Not told apart by the seeds: places 2 and 3."


def test_one_seed_tells_nothing_apart():
    rows = ranked([0.9], [0.5], [0.1])
    assert groups(rows) == [(1, 3)]
    assert not_told_apart(rows) == "Not told apart by the seeds: places 1 to 3."


def test_runs_may_overlap():
    rows = [{"unranked": None, "tied": each} for each in ([2], [1, 3], [2, 4, 5], [3, 5], [3, 4])]
    assert groups(rows) == [(1, 2), (2, 3), (3, 5)]


def test_where_all_are_told_apart_nothing_is_said():
    assert not_told_apart(ranked([0.9, 0.91, 0.9], [0.4, 0.4, 0.41])) == ""
    assert ranges([]) == "-"
    assert ranges([1, 2, 3, 5]) == "1-3, 5"
