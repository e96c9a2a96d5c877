"""Parts of one data set: in any order, killed and started again, twice, at the same time."""

import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from bct_keras import artefacts
from bct_keras.data import records
from bct_keras.engines import Local, Part
from bct_keras.errors import InputError
from bct_keras.prepare import writing
from bct_keras.prepare.run import prepare
from bct_keras.processes import FORK

FACES = "synthetic(identities=30, images=10, image_size=28)"
SPLIT = "data(old_share=0.3, test_share=0.2)"


class KilledError(BaseException):
    """What a kill does, as far as one process can do it to itself: nothing is caught."""


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def part(out: Path, number: int, count: int, on_bad: str = "fail", faces: str = FACES) -> str:
    return prepare(faces, SPLIT, out, on_bad=on_bad, engine=Local(1), part=Part(number, count))


def part_that_is_killed(*arguments) -> None:
    """Runs a part in a process of its own, which is killed in the middle of its first shard."""

    def killed(path, frames):
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    records.write_frames = killed
    part(*arguments)


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_parts_in_any_order_make_the_same_bytes(tmp_path, small_pieces, on_bad, monkeypatch):
    prepare(FACES, SPLIT, tmp_path / "whole", on_bad=on_bad)
    out = tmp_path / "out"
    order = list(range(12))  # of about 20 shards, and as many pieces that are looked at
    random.Random(0).shuffle(order)
    order.insert(3, order[0])  # one runs twice
    write_frames = records.write_frames

    def killed(path, frames):
        path.write_bytes(b"half")
        raise KilledError

    said = []
    for number in order:
        if number in order[4:6]:
            monkeypatch.setattr(records, "write_frames", killed)
            with pytest.raises(KilledError):
                part(out, number, 12, on_bad)
            monkeypatch.setattr(records, "write_frames", write_frames)
        assert not out.exists()
        said.append(part(out, number, 12, on_bad))
    assert said[0].startswith(f"part {order[0]}/12 of {out} is done; ")
    assert "still to be done, and whoever finishes last commits" in said[0]
    assert said[-1] == f"{out} written: 300 images of 30 identities, views all, new, old, test"
    assert part(out, 3, 12, on_bad).startswith(f"{out} is up to date: 300 images")
    assert content(out) == content(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


def test_what_parts_have_done_is_not_done_again_by_the_whole(tmp_path, small_pieces):
    part(tmp_path / "out", 1, 2)
    done = {path: path.stat().st_ino for path in (tmp_path / ".out.partial/shards").iterdir()}
    prepare(FACES, SPLIT, tmp_path / "out", engine=Local(2))
    prepare(FACES, SPLIT, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    for path, inode in done.items():
        assert (tmp_path / "out" / "shards" / path.name).stat().st_ino == inode


def test_a_part_that_was_killed_in_the_commit_is_mended_by_any_other(
    tmp_path, small_pieces, monkeypatch
):
    def killed(*arguments, **facts):
        raise KilledError

    monkeypatch.setattr(artefacts, "write_manifest", killed)
    part(tmp_path / "out", 1, 2)
    with pytest.raises(KilledError):
        part(tmp_path / "out", 2, 2)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 16)
    assert "written" in part(tmp_path / "out", 1, 2)


def test_results_that_were_left_in_a_committed_folder_are_removed(tmp_path, small_pieces):
    part(tmp_path / "out", 1, 1)
    (tmp_path / "out" / ".results").mkdir()
    prepare(FACES, SPLIT, tmp_path / "out")
    assert not (tmp_path / "out" / ".results").exists()


def test_parts_of_something_else_are_refused_while_others_work(tmp_path, small_pieces):
    seen = []

    def refused(path, frames):
        with pytest.raises(InputError, match="is being made from something else by another"):
            prepare(FACES, SPLIT, tmp_path / "out", seed=5, engine=Local(1), part=Part(1, 2))
        seen.append(path)
        raise KilledError

    write_frames = records.write_frames
    try:
        records.write_frames = refused
        with pytest.raises(KilledError):
            part(tmp_path / "out", 1, 2)
    finally:
        records.write_frames = write_frames
    assert len(seen) == 1
    prepare(FACES, SPLIT, tmp_path / "out", seed=5, engine=Local(1), part=Part(1, 1))
    prepare(FACES, SPLIT, tmp_path / "whole", seed=5)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_part_that_fails_keeps_the_work_of_others(tmp_path, small_pieces, small_jpeg):
    for number in range(40):
        path = tmp_path / "photos" / f"person-{number // 5}" / f"{number % 5}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image" if number == 7 else small_jpeg(number))
    source = f"folder({tmp_path / 'photos'}, image_size=16)"
    for number in range(3):
        own = Part(number, 3)
        if number == part_of_record(7, 3):
            with pytest.raises(InputError, match=r"^person-1/2.jpg: not a JPEG or PNG image"):
                prepare(source, "none", tmp_path / "out", part=own)
        else:
            prepare(source, "none", tmp_path / "out", part=own)
    assert len(list((tmp_path / ".out.partial" / "shards").iterdir())) == 2


def part_of_record(position: int, count: int) -> int:
    """Which part writes a record of 40 that are put into shards of 16 by seed 0."""
    random_order = np.random.default_rng(0).permutation(40)
    shards = np.array_split(random_order, 3)
    (shard,) = [number for number, rows in enumerate(shards) if position in rows]
    return shard % count


MANY_FACES = "synthetic(identities=120, images=10, image_size=28)"


@pytest.mark.long
def test_64_parts_four_of_them_killed_and_two_of_them_twice(tmp_path, small_pieces):
    """As an array job runs them: some at the same time, and each killed one once more."""
    out = tmp_path / "out"
    order = list(range(64))
    chance = random.Random(1)
    chance.shuffle(order)
    to_kill = set(order[10:14])
    waiting = [*order, *order[20:22]]
    running: dict[BaseProcess, int] = {}
    while waiting or running:
        while waiting and len(running) < 4:
            number = waiting.pop(0)
            target = part_that_is_killed if number in to_kill else part
            process = FORK.Process(target=target, args=(out, number, 64, "skip", MANY_FACES))
            process.start()
            running[process] = number
        for process, number in list(running.items()):
            if process.exitcode is None:
                continue
            del running[process]
            if process.exitcode:
                assert process.exitcode == -signal.SIGKILL
                assert number in to_kill
                to_kill.remove(number)
                waiting.insert(0, number)
        time.sleep(0.001)
    assert not to_kill
    prepare(MANY_FACES, SPLIT, tmp_path / "whole", on_bad="skip")
    assert content(out) == content(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}
