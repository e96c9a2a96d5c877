"""Work in pieces by a worker that writes a line for each: what every engine and part builds on."""

from pathlib import Path

import pytest
from line_writer import job, log

from bct_keras import stores
from bct_keras.engines import Engine, Local, Part, local_processes, parse_part, part_results
from bct_keras.errors import InputError

ENGINES = [(Local(1), True), (Local(3), True), (Local(2), False)]
NAMES = ["in this process", "forked", "spawned"]


@pytest.mark.parametrize(("engine", "forks"), ENGINES, ids=NAMES)
def test_every_piece_is_done_once_and_its_result_is_kept(tmp_path, engine, forks):
    whole = job(tmp_path, forks=forks)
    expected = {number: {"text": f"text {number}"} for number in range(7)}
    assert dict(engine.results(whole)) == expected
    assert dict(engine.results(whole)) == dict(whole.read_results())  # nothing is done again
    assert log(tmp_path) == [f"p{number}" for number in range(7)]
    (tmp_path / "p3.txt").unlink()
    (tmp_path / ".results" / "p5.json").write_text("{")  # as a power cut leaves it
    engine.run(whole)
    assert log(tmp_path) == ["p0", "p1", "p2", "p3", "p3", "p4", "p5", "p5", "p6"]


@pytest.mark.parametrize(("engine", "forks"), ENGINES, ids=NAMES)
def test_why_a_piece_cannot_be_done_is_told(tmp_path, engine: Engine, forks):
    with pytest.raises(InputError, match=r"^p2: this cannot be done$"):
        engine.run(job(tmp_path, forks=forks, refused="p2"))
    engine.run(job(tmp_path, forks=forks))
    assert len(dict(job(tmp_path).read_results())) == 7


@pytest.mark.parametrize("forks", [True, False])
def test_a_process_that_dies_leaves_what_is_done(tmp_path, forks):
    with pytest.raises(InputError, match=r"one of the processes was killed.*local\(processes=1\)"):
        Local(2).run(job(tmp_path, forks=forks, killed_at="p6"))
    Local(2).run(job(tmp_path, forks=forks))
    assert set(log(tmp_path)) == {f"p{number}" for number in range(7)}


def test_what_parts_have_done_is_known_from_a_file_of_each(tmp_path, monkeypatch):
    monkeypatch.setattr(part_results, "RESULTS_A_LINE", 2)
    whole = job(tmp_path)
    for number in (2, 1):
        assert part_results.missing_parts(3, whole) == number + 1
        part_results.do_part(Part(number, 3), Local(1), whole)
    with pytest.raises(InputError, match="p6: this cannot be done"):
        part_results.do_part(Part(3, 3), Local(1), job(tmp_path, refused="p6"))
    assert part_results.missing_parts(3, whole) == 1
    part_results.do_part(Part(3, 3), Local(1), whole)
    assert part_results.missing_parts(3, whole) == 0
    expected = {number: {"text": f"text {number}"} for number in range(7)}
    monkeypatch.setattr(stores, "names_in", None)  # no listing
    assert dict(part_results.results_of_parts(3, whole)) == expected
    for damage in ("[[7, {}]]", "[[0]]", "[", "7", ""):
        (tmp_path / ".results" / "part-0-of-3.jsonl").write_text(damage)
        with pytest.raises(InputError, match=r"part-0-of-3\.jsonl"):
            list(part_results.results_of_parts(3, whole))


@pytest.mark.parametrize("count", [1, 3, 7, 9])
def test_parts_are_all_of_the_work_and_none_of_it_twice(count):
    pieces = job(Path("nowhere")).pieces
    own = [Part(number, count).own(pieces) for number in range(1, count + 1)]
    assert sorted(piece.name for part in own for piece in part) == [f"p{n}" for n in range(7)]
    for number in range(count):
        everything = list(Part(number, count).own_first(pieces))
        assert everything[: len(Part(number, count).own(pieces))] == Part(number, count).own(pieces)
        assert sorted(piece.name for piece in everything) == [f"p{n}" for n in range(7)]
    assert Part(0, count).own(pieces) == Part(count, count).own(pieces)


def test_a_part_is_read_from_a_flag():
    assert parse_part(None) is None
    assert parse_part("") is None
    assert parse_part("3/64") == Part(3, 64)
    for wrong in ("3", "65/64", "-1/4", "1/0", "0/0", "a/b", "1/2/3", "1 /2"):
        with pytest.raises(InputError, match="a part is NUMBER/COUNT, such as 3/64"):
            parse_part(wrong)


def test_what_runs_here_alone_takes_no_cluster():
    class Cluster(Engine):
        def results(self, job):
            yield from ()

    assert local_processes(Local(3), "prepare --check") == 3
    with pytest.raises(InputError, match="prepare --check runs on this machine alone"):
        local_processes(Cluster(), "prepare --check")
    with pytest.raises(InputError, match="processes=-1 has to be 0 or more"):
        Local(-1)
