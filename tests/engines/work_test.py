"""Work in pieces by a worker that writes a line for each: what every engine and part builds on."""

import json
from pathlib import Path

import pytest
from line_writer import job, log

from bct_keras.engines import Engine, Local, Part, local_processes, parse_part
from bct_keras.errors import InputError

ENGINES = [(Local(1), True), (Local(3), True), (Local(2), False)]
NAMES = ["in this process", "forked", "spawned"]


@pytest.mark.parametrize(("engine", "forks"), ENGINES, ids=NAMES)
def test_every_piece_is_done_once_and_its_result_is_kept(tmp_path, engine, forks):
    whole = job(tmp_path, forks=forks)
    assert engine.run(whole) == [{"text": f"text {number}"} for number in range(7)]
    assert engine.run(whole) == whole.read_results()  # nothing is done again
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
    assert len(job(tmp_path).read_results()) == 7


@pytest.mark.parametrize("forks", [True, False])
def test_a_process_that_dies_leaves_what_is_done(tmp_path, forks):
    with pytest.raises(InputError, match=r"one of the processes was killed.*local\(processes=1\)"):
        Local(2).run(job(tmp_path, forks=forks, killed_at="p6"))
    Local(2).run(job(tmp_path, forks=forks))
    assert set(log(tmp_path)) == {f"p{number}" for number in range(7)}


def test_what_is_missing_is_known_from_the_results(tmp_path):
    assert len(job(tmp_path).missing()) == 7
    Local(1).run(job(tmp_path, pieces=5))
    assert [piece.name for piece in job(tmp_path).missing()] == ["p5", "p6"]
    assert json.loads((tmp_path / ".results" / "p4.json").read_text()) == {"text": "text 4"}


@pytest.mark.parametrize("count", [1, 3, 7, 9])
def test_parts_are_all_of_the_work_and_none_of_it_twice(count):
    pieces = job(Path("nowhere")).pieces
    own = [Part(number, count).own(pieces) for number in range(1, count + 1)]
    assert sorted(piece.name for part in own for piece in part) == [f"p{n}" for n in range(7)]
    for number in range(count):
        everything = Part(number, count).own_first(pieces)
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
        def run(self, job):
            return []

    assert local_processes(Local(3), "prepare --check") == 3
    with pytest.raises(InputError, match="prepare --check runs on this machine alone"):
        local_processes(Cluster(), "prepare --check")
    with pytest.raises(InputError, match="processes=-1 has to be 0 or more"):
        Local(-1)
