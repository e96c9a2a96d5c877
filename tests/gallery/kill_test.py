"""Sends kill -9 at random moments.

What was acknowledged is there, once, as it was given, and the file opens.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bct_keras
from bct_keras.gallery.facts import Compatibility, KnownEncoder, Match
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.vectors import Vectors, pack, unit, unpack

DIMS = 8
ENTRIES = 3000  # of the gallery that is embedded anew

# Galleries need no TensorFlow, whose start takes seconds.
COMMON = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["tensorflow"] = None  # importing it fails

import numpy as np
from bct_keras.gallery.backfill import EmbeddedImages, backfill
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.orders import random

DIMS = 8

def known(number):
    return KnownEncoder(f"{number:064}", DIMS, f"encoder {number}")

def embedded(encoder, ids):
    numbers = np.array([int(ident[3:]) for ident in ids])
    return np.sin(numbers[:, None] * np.sqrt(np.arange(2, 2 + DIMS)) + encoder + 1)

def say(ids):
    sys.stdout.write("".join(ident + "\\n" for ident in ids))
    sys.stdout.flush()
"""

ADDS = """
path, first = sys.argv[2], int(sys.argv[3])
sizes = np.random.default_rng(first)
while True:
    with FileGallery(path) as gallery:  # ending it puts its small blocks together
        for _ in range(90):
            ids = [f"id {number}" for number in range(first, first + int(sizes.integers(1, 40)))]
            gallery.add(known(0), ids, ["label"] * len(ids), embedded(0, ids))
            say(ids)
            first += len(ids)
"""

BACKFILLS = """
from bct_keras.gallery import backfill as module
path, encoder = sys.argv[2], int(sys.argv[3])
module.AT_ONCE = 8

class Images:
    def __contains__(self, ident):
        return True

    def read(self, ids):
        return embedded(encoder, ids)

with FileGallery(path) as gallery:
    replace = gallery.replace

    def replace_and_say(known, ids, labels, embeddings):
        replaced = replace(known, ids, labels, embeddings)
        say(ids)
        return replaced

    gallery.replace = replace_and_say
    items = EmbeddedImages(Images(), lambda images: images)
    backfill(gallery, known(encoder), items, random(encoder))
"""

REMOVES = """
from bct_keras.gallery import file
path = sys.argv[2]
draw = np.random.default_rng(int(sys.argv[3]))
file.SPARE_BLOCKS = 0  # so that each end tidies, whatever was done
say(["id -1"])  # at work
with FileGallery(path) as gallery:
    left = gallery.entries_of_others("")[0]
while len(left) > 40:
    with FileGallery(path) as gallery:
        for _ in range(3):
            some = sorted(draw.choice(left, 5, replace=False).tolist())
            sys.stdout.write("asked " + " ".join(ident[3:] for ident in some) + "\\n")
            sys.stdout.flush()
            gallery.remove(some)
            say(some)
            left = [ident for ident in left if ident not in some]
        gallery.add(known(0), ["id 0"], ["label"], embedded(0, ["id 0"]))
"""


MOVES = """
from bct_keras.gallery import file
path, action = sys.argv[2], sys.argv[3]
file.ROWS_AT_ONCE = 16
turn = np.cos(np.outer(np.arange(8), np.arange(1, 13))).astype(np.float32)
moved = KnownEncoder("a" * 64, 12, "moved", known(0).fingerprint, "b" * 64)
say(["id -1"])  # at work
with FileGallery(path) as gallery:
    if action == "0":
        for count in gallery.move(known(0), moved, lambda rows: rows @ turn):
            say([f"moved {count}"])
    else:
        gallery.restore()
        say(["restored"])
"""
MOVED = KnownEncoder("a" * 64, 12, "moved", f"{0:064}", "b" * 64)
TURN = np.cos(np.outer(np.arange(8), np.arange(1, 13))).astype(np.float32)


def known(number: int) -> KnownEncoder:
    return KnownEncoder(f"{number:064}", DIMS, f"encoder {number}")


def embedded(encoders: list[int], numbers: list[int]) -> np.ndarray:
    """Returns another direction for each encoder and number."""
    return np.sin(
        np.outer(numbers, np.sqrt(np.arange(2, 2 + DIMS))) + np.array(encoders)[:, None] + 1
    )


def output_until_killed(script: str, path: Path, argument: int, seconds: float) -> tuple[str, bool]:
    """Returns what it said, and whether it had come to its end by then."""
    package = str(Path(bct_keras.__file__).parents[1])
    arguments = [sys.executable, "-c", COMMON + script, package, str(path), str(argument)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first = process.stdout.readline()  # the start-up is no moment of interest
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        said = first + process.stdout.read()
    assert process.returncode in (0, -signal.SIGKILL)
    return said, process.returncode == 0


def run_and_kill(script: str, path: Path, argument: int, seconds: float) -> tuple[list[str], bool]:
    """Returns the ids that it said to be safe, and whether it had come to its end by then."""
    said, ended = output_until_killed(script, path, argument, seconds)
    return re.findall(r"(id \d+)\n", said), ended


def whole_list(path: Path, encoder: int) -> dict[str, Match]:
    """Lists every entry, checked: once, and as its encoder embedded it."""
    query = np.random.default_rng(0).standard_normal((1, DIMS))
    with FileGallery(str(path)) as gallery:
        matches = gallery.search(known(encoder).fingerprint, query, 10**6)[0]
        assert sum(gallery.describe().entries.values()) == len(matches)
    found = {match.id: match for match in matches}
    assert len(found) == len(matches)
    given = embedded(
        [int(match.encoder) for match in matches], [int(match.id[3:]) for match in matches]
    )
    cosines = given @ query[0] / np.linalg.norm(given, axis=1) / np.linalg.norm(query)
    np.testing.assert_allclose([match.score for match in matches], cosines, atol=1e-4)
    return found


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_no_added_entry_is_lost_or_doubled(tmp_path, kills):
    path, moments = tmp_path / "people.gallery", random.Random(kills)
    acknowledged: set[str] = set()
    for _ in range(kills):
        # A client that was killed sends again what was not acknowledged, and a little more.
        first = max(0, len(acknowledged) - 20)
        said, _ = run_and_kill(ADDS, path, first, moments.uniform(0, 0.15))
        acknowledged |= set(said)
        there = whole_list(path, 0)
        assert acknowledged <= there.keys()
        assert there.keys() == {f"id {number}" for number in range(len(there))}
        acknowledged = set(there)
    assert len(acknowledged) > 20 * kills


def filled(path: Path) -> list[str]:
    ids = [f"id {number}" for number in range(ENTRIES)]
    with FileGallery(str(path)) as gallery:
        gallery.add(
            known(0), ids, ["label"] * ENTRIES, embedded([0] * ENTRIES, list(range(ENTRIES)))
        )
        gallery.declare(Compatibility(known(1).fingerprint, known(0).fingerprint, "", "compatible"))
    return ids


def test_searches_go_on_while_entries_are_embedded_anew(tmp_path):
    path = tmp_path / "people.gallery"
    ids, shares = filled(path), set()
    package = str(Path(bct_keras.__file__).parents[1])
    arguments = [sys.executable, "-c", COMMON + BACKFILLS, package, str(path), "1"]
    # What it says fills the pipe, so it gets no further ahead of the searches than a few hundred
    # entries.
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, pipesize=4096) as process:
        assert process.stdout
        while os.read(process.stdout.fileno(), 1000):
            there = whole_list(path, 1)
            assert there.keys() == set(ids)
            shares.add(sum(match.encoder == known(1).fingerprint for match in there.values()))
    assert process.returncode == 0
    assert len(shares) > 3  # it was watched at work


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_backfill_loses_and_doubles_none_and_goes_on(tmp_path, kills):
    path, moments, target, stopped = tmp_path / "people.gallery", random.Random(kills), 1, 0
    ids = filled(path)
    acknowledged: set[str] = set()
    while stopped < kills:
        with FileGallery(str(path)) as gallery:
            gallery.declare(
                Compatibility(
                    known(target).fingerprint, known(target - 1).fingerprint, "", "compatible"
                )
            )
        said, ended = run_and_kill(BACKFILLS, path, target, moments.uniform(0, 0.25))
        assert not acknowledged & set(said)  # what was done is not done again
        acknowledged |= set(said)
        there = whole_list(path, target)
        assert there.keys() == set(ids)
        done = {
            ident for ident, match in there.items() if match.encoder == known(target).fingerprint
        }
        assert acknowledged <= done
        stopped += not ended
        acknowledged = done
        if len(done) == ENTRIES:
            target, acknowledged = target + 1, set()
    assert target > 1 or acknowledged


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_a_removal_is_done_or_not_and_what_it_said_to_be_gone_is_nowhere(tmp_path, kills):
    path, moments = tmp_path / "people.gallery", random.Random(kills)
    ids = filled(path)
    there = set(ids)
    for kill in range(kills):
        said, _ = output_until_killed(REMOVES, path, kill, moments.uniform(0, 0.3))
        gone = set(re.findall(r"^(id \d+)\n", said, re.MULTILINE))
        asked = [
            {f"id {number}" for number in line.split()}
            for line in re.findall(r"^asked (.*)\n", said, re.MULTILINE)
        ]
        before, there = there - gone - {"id 0"}, set(whole_list(path, 0)) - {"id 0"}
        # The last lot asked for, if it was not said to be gone, is there whole or not at all.
        assert there in (before, before - asked[-1] if asked else before)
        gone_for_good = (set(ids) - there - {"id 0"}) if kill % 5 == 4 else gone - {"id 0"}
        if kill % 5 == 4:  # whatever writes next erases what a kill left
            with FileGallery(str(path)) as gallery:
                gallery.add(known(0), ["id 0"], ["label"], embedded([0], [0]))
        content = b"".join(each.read_bytes() for each in tmp_path.iterdir())
        numbers = [int(ident[3:]) for ident in gone_for_good]
        if numbers:
            packed = pack(unit(embedded([0] * len(numbers), numbers)))
            assert not [row for row in range(len(numbers)) if whole_vector(packed, row) in content]
    assert len(there) < ENTRIES - 5 * kills


def whole_vector(packed: Vectors, row: int) -> bytes:
    """Returns the high plane of one entry: 8 bytes that no other entry has."""
    return packed.high[row].tobytes()


@dataclass(frozen=True)
class Kept:
    """What a gallery file has of an entry."""

    encoder: str  # that made its live vector
    live: bytes
    original: bytes  # of an entry that was not moved: its live vector


def kept(path: Path) -> dict[str, Kept]:
    """Returns what the file has of each id, checked: each is there once, and found once."""
    with FileGallery(str(path)) as gallery:
        gallery.describe()
        held = gallery.contents
        found = {}
        for number, ident in zip(held.numbers.tolist(), held.ids(), strict=True):
            row, original = held.row_of[number], held.original_of[number]
            live = content_of(held.vectors_of(np.array([row])))
            before = live if original < 0 else content_of(held.vectors_of(np.array([original])))
            encoder = held.encoders[held.encoder_of[number]].fingerprint
            found[ident] = Kept(encoder, live, before)
        assert len(found) == len(held.numbers)
        matches = gallery.search(known(0).fingerprint, np.ones((1, DIMS)), 10**6)[0]
    assert len(matches) == len(found)
    assert {match.id for match in matches} == found.keys()
    return found


def content_of(packed: Vectors) -> bytes:
    return packed.scale.tobytes() + packed.high.tobytes() + packed.low.tobytes()


def moved_vectors(originals: dict[str, Kept]) -> dict[str, bytes]:
    """Returns what each entry has to be after its move, in the lots of the program that moves."""
    ids = list(originals)
    found = {}
    for start in range(0, len(ids), 16):
        lot = ids[start : start + 16]
        whole = np.frombuffer(b"".join(originals[ident].original for ident in lot), np.int8)
        rows = whole.reshape(len(lot), 4 + 2 * DIMS)
        packed = Vectors(
            scale=np.ascontiguousarray(rows[:, :4]).view("<f4")[:, 0],
            high=rows[:, 4 : 4 + DIMS],
            low=rows[:, 4 + DIMS :],
        )
        turned = pack(unit(unpack(packed) @ TURN))
        for place, ident in enumerate(lot):
            found[ident] = content_of(turned[place : place + 1])
    return found


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_a_move_loses_doubles_and_half_moves_nothing_and_restore_gives_the_same_bytes(
    tmp_path, kills
):
    path, moments = tmp_path / "people.gallery", random.Random(kills)
    filled(path)
    with FileGallery(str(path)) as gallery:
        gallery.declare(Compatibility(known(5).fingerprint, MOVED.fingerprint, "", "compatible"))
    originals = kept(path)
    expected = moved_vectors(originals)
    stopped, finished, acknowledged = 0, 0, 0
    while stopped < kills:
        # Every third time it is taken back, at a random moment too.
        action = int(stopped % 3 == 2)
        said, ended = output_until_killed(MOVES, path, action, moments.uniform(0, 0.2))
        stopped += not ended
        finished += ended
        there = kept(path)
        assert there.keys() == originals.keys()
        assert all(there[ident].original == originals[ident].original for ident in there)
        done = 0
        for ident, entry in there.items():
            if entry.encoder == MOVED.fingerprint:
                done += 1
                assert entry.live == expected[ident]
        if action:
            assert done in (0, acknowledged)  # it is taken back whole, or not
            assert not done or "restored" not in said
        else:
            acknowledged += sum(int(count) for count in re.findall(r"moved (\d+)\n", said))
            assert acknowledged <= done <= acknowledged + 16
            assert done % 16 == 0 or done == ENTRIES  # a lot is moved whole, or not
        if done == ENTRIES and ended:
            with FileGallery(str(path)) as gallery:
                assert gallery.restore() == ENTRIES
            assert kept(path) == originals
            done = 0
        acknowledged = done
    with FileGallery(str(path)) as gallery:
        gallery.restore()
    assert kept(path) == originals
