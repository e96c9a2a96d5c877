"""Moves the entries of a gallery file by an adapter, takes it back, and makes it final."""

import errno
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import blocks, file, opening, vectors
from bct_keras.gallery.facts import BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.spaces import Query

OLD_DIMS, NEW_DIMS, ENTRIES = 8, 12, 40
OLD = KnownEncoder("0" * 64, OLD_DIMS, "old")
NEW = KnownEncoder("1" * 64, NEW_DIMS, "new")
MOVED = KnownEncoder("a" * 64, NEW_DIMS, "adapted(old, map)", OLD.fingerprint, "b" * 64)
FITS_MOVED = Compatibility(NEW.fingerprint, MOVED.fingerprint, "", "compatible", BY_EMBEDDING)
MAP = np.random.default_rng(3).standard_normal((OLD_DIMS, NEW_DIMS)).astype(np.float32)


def by_map(embeddings: np.ndarray) -> np.ndarray:
    return embeddings @ MAP


def embedding(number: int, dims: int = OLD_DIMS) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((1, dims))


def name(number: int) -> tuple[str, str]:
    return f"identity-{number:04}/photo.jpg", f"Zoë number {number:04}"


def ids(*numbers: int) -> set[str]:
    return {name(number)[0] for number in numbers}


def add(gallery: FileGallery, *numbers: int, encoder: KnownEncoder = OLD) -> int:
    names = [name(number) for number in numbers]
    embeddings = np.concatenate([embedding(number, encoder.dims) for number in numbers])
    return gallery.add(
        encoder, [ident for ident, _ in names], [label for _, label in names], embeddings
    )


def move(gallery: FileGallery) -> int:
    return sum(gallery.move(OLD, MOVED, by_map))


@pytest.fixture
def path(tmp_path) -> Path:
    """Makes a gallery of several blocks, which a report lets be moved."""
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        for start in range(0, ENTRIES, 10):
            add(gallery, *range(start, start + 10))
        gallery.declare(FITS_MOVED)
    return path


def planes(path: Path) -> dict[str, tuple[str, bytes]]:
    """Returns for each id the encoder of its live vector, and the vector's bytes."""
    with FileGallery(str(path)) as gallery:
        gallery.describe()
        held = gallery.contents
        found = {}
        for number, ident in zip(held.numbers.tolist(), held.ids(), strict=True):
            packed = held.vectors_of(held.row_of[[number]])
            content = packed.scale.tobytes() + packed.high.tobytes() + packed.low.tobytes()
            found[ident] = (held.encoders[held.encoder_of[number]].fingerprint, content)
        assert len(found) == len(held.numbers)
    return found


def cosines(path: Path, encoder: KnownEncoder) -> dict[str, float]:
    with FileGallery(str(path)) as gallery:
        matches = gallery.search(encoder.fingerprint, embedding(1000, encoder.dims), 1000)[0]
    assert len({match.id for match in matches}) == len(matches)
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    return {match.id: match.score for match in matches}


def expected_cosines(numbers, moved: bool) -> dict[str, float]:
    found = {}
    for number in numbers:
        vector = embedding(number)
        if moved:
            vector = by_map(vectors.unit(vector))
        query = embedding(1000, vector.shape[1])
        length = np.linalg.norm(vector) * np.linalg.norm(query)
        found[name(number)[0]] = pytest.approx(float((vector @ query.T)[0, 0] / length), abs=1e-3)
    return found


def version(path: Path) -> int:
    return blocks.HEADER.unpack(path.read_bytes()[: blocks.HEADER.size])[1]


def test_moved_entries_are_found_by_new_queries_and_their_originals_by_old_ones(path):
    assert version(path) == 3  # a declaration that older programs cannot read
    with FileGallery(str(path)) as gallery:
        assert move(gallery) == ENTRIES
    assert cosines(path, NEW) == expected_cosines(range(ENTRIES), moved=True)
    assert cosines(path, OLD) == expected_cosines(range(ENTRIES), moved=False)
    with FileGallery(str(path)) as gallery:
        found = gallery.describe()
        assert found.entries == {MOVED: ENTRIES}
        assert found.dims == [NEW_DIMS]
        assert f"the original vectors of {ENTRIES} moved entries still in it" in found.remarks
        assert "superseded" not in " ".join(found.remarks)
        (match,) = gallery.search(NEW.fingerprint, embedding(3, NEW_DIMS), 1)[0]
        assert match.encoder == MOVED.fingerprint


def test_a_second_move_moves_only_what_came_since(path):
    with FileGallery(str(path)) as gallery:
        assert move(gallery) == ENTRIES
        assert move(gallery) == 0
    with FileGallery(str(path)) as gallery:
        gallery.declare(
            Compatibility(NEW.fingerprint, OLD.fingerprint, "", "compatible", BY_EMBEDDING)
        )
        with pytest.raises(InputError, match="together no query could be searched"):
            add(gallery, 99)  # two spaces, and nobody knows what their cosines stand for


def test_restoring_gives_the_same_bytes_back(path):
    before = planes(path)
    with FileGallery(str(path)) as gallery:
        move(gallery)
    assert {maker for maker, _ in planes(path).values()} == {MOVED.fingerprint}
    with FileGallery(str(path)) as gallery:
        assert gallery.restore() == ENTRIES
        assert gallery.restore() == 0
    assert planes(path) == before
    assert cosines(path, OLD) == expected_cosines(range(ENTRIES), moved=False)
    with FileGallery(str(path)) as gallery:
        assert gallery.describe().entries == {OLD: ENTRIES}
        assert gallery.contents.live.all()  # what they were moved to is no longer in the file
        assert move(gallery) == ENTRIES


def test_forgotten_originals_are_nowhere_and_cannot_be_restored(path):
    traces = [content for _, content in planes(path).values()]
    with FileGallery(str(path)) as gallery:
        move(gallery)
    with FileGallery(str(path)) as gallery:
        found = gallery.forget_originals()
        assert (found.entries, found.erased) == (ENTRIES, "their bytes are no longer in the file")
    whole = path.read_bytes()
    assert not any(trace[4:12] in whole for trace in traces)  # the high plane
    assert cosines(path, NEW) == expected_cosines(range(ENTRIES), moved=True)
    with FileGallery(str(path)) as gallery:
        assert gallery.restore() == 0
        assert gallery.describe().entries == {MOVED: ENTRIES}
        with pytest.raises(InputError, match="holds entries of adapted"):
            gallery.search(OLD.fingerprint, embedding(3), 1)


def test_no_original_is_forgotten_before_the_move_is_done(path, monkeypatch):
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 15)
    with FileGallery(str(path)) as gallery:
        assert next(gallery.move(OLD, MOVED, by_map)) == 15
        with pytest.raises(InputError, match="together no query could be searched"):
            gallery.forget_originals()
    # An old query finds everybody meanwhile, and a new one is told why it does not.
    assert cosines(path, OLD) == expected_cosines(range(ENTRIES), moved=False)
    with pytest.raises(InputError, match="holds entries of old"):
        cosines(path, NEW)
    with FileGallery(str(path)) as gallery:
        assert move(gallery) == ENTRIES - 15
        assert gallery.forget_originals().entries == ENTRIES


def test_a_removal_takes_the_original_with_it(path):
    traces = {ident: content for ident, (_, content) in planes(path).items()}
    with FileGallery(str(path)) as gallery:
        move(gallery)
    moved = {ident: content for ident, (_, content) in planes(path).items()}
    gone = ids(3, 17)
    with FileGallery(str(path)) as gallery:
        assert gallery.remove(gone).entries == 2
    whole = path.read_bytes()
    for ident in traces:
        assert (traces[ident][4:12] in whole) == (ident not in gone)
        assert (moved[ident][4:16] in whole) == (ident not in gone)
    left = [number for number in range(ENTRIES) if number not in (3, 17)]
    assert cosines(path, NEW) == expected_cosines(left, moved=True)
    with FileGallery(str(path)) as gallery:
        assert gallery.restore() == len(left)
    assert cosines(path, OLD) == expected_cosines(left, moved=False)


def test_an_entry_that_is_embedded_anew_has_no_original_any_more(path):
    with FileGallery(str(path)) as gallery:
        move(gallery)
        some = [name(4), name(5)]
        new = np.concatenate([embedding(1, NEW_DIMS), embedding(2, NEW_DIMS)])
        given = [ident for ident, _ in some], [label for _, label in some]
        assert gallery.replace(NEW, *given, new) == 2
        with pytest.raises(InputError, match="holds entries of new"):
            gallery.search(OLD.fingerprint, embedding(3), 1)
        with pytest.raises(InputError, match="together no query could be searched"):
            gallery.restore()  # old entries among new ones, which no query fits
        assert gallery.forget_originals().entries == ENTRIES - 2
        assert gallery.describe().entries == {MOVED: ENTRIES - 2, NEW: 2}
    assert len(cosines(path, NEW)) == ENTRIES


def test_without_a_report_on_moved_entries_nothing_is_moved(tmp_path):
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, 0, 1)
    before = path.read_bytes()
    with (
        FileGallery(str(path)) as gallery,
        pytest.raises(InputError, match="no report says which queries fit entries of adapted"),
    ):
        move(gallery)
    assert path.read_bytes() == before
    assert version(path) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda rows: rows, "is known to give 12 dimensions and has given 8"),
        (lambda rows: by_map(rows) * np.nan, "finite numbers"),
        (lambda rows: by_map(rows) * 0, "all zeros"),
    ],
)
def test_what_an_adapter_gives_is_looked_at(path, given, message):
    with FileGallery(str(path)) as gallery, pytest.raises(InputError, match=message):
        list(gallery.move(OLD, MOVED, given))
    assert cosines(path, OLD) == expected_cosines(range(ENTRIES), moved=False)


def test_one_writer_moves_restores_adds_and_removes_in_any_order(path, monkeypatch):
    """Compares with what ought to be there; the file is tidied in between as well."""
    monkeypatch.setattr(file, "SPARE_BLOCKS_MEANWHILE", 6)
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 7)
    draw = random.Random(0)
    old = set(range(ENTRIES))
    moved: set[int] = set()
    with FileGallery(str(path)) as gallery:
        for step in range(80):
            some = draw.sample(range(60), 3)
            if step % 5 == 0:
                count = sum(next(gallery.move(OLD, MOVED, by_map), 0) for _ in range(2))
                assert count <= len(old)
            elif step % 5 == 1 and not gallery.contents.in_use.get(MOVED):
                gallery.restore()
                add(gallery, *some)
                old |= set(some)
            elif step % 5 == 2:
                gallery.remove(ids(*some))
                old -= set(some)
                moved -= set(some)
            elif step % 5 == 3:
                gallery.restore()
                add(gallery, *some)
                old |= set(some)
            else:
                assert move(gallery) <= len(old)
                if draw.random() < 0.2:
                    gallery.forget_originals()
                    moved, old = moved | old, set()
                    break
            found = gallery.search(OLD.fingerprint, embedding(1000), 1000)[0]
            assert {each.id: each.score for each in found} == expected_cosines(old, moved=False)
        assert moved
    assert cosines(path, NEW) == expected_cosines(moved, moved=True)


def test_a_flipped_byte_is_found_wherever_it_lies(path):
    with FileGallery(str(path)) as gallery:
        move(gallery)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r"damaged|no gallery"):
            cosines(path, NEW)


def restored_of(number: int, kind: bytes) -> list[bytes]:
    return blocks.encode(kind, 1, number.to_bytes(8, "little"))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (restored_of(0, b"REST"), "an original vector is not there"),
        (restored_of(0, b"FORG"), "an original vector is not there"),
        (restored_of(999, b"REST"), "lets go a vector of an entry that is not there"),
        (blocks.encode(b"ENCO", 0, b'{"fingerprint": "", "dims": 0, "name": ""}'), "0 dimensions"),
        (
            blocks.encode(
                b"COMP", 0, b'{"query":"","gallery":"","report":"","finding":"","by":"x"}'
            ),
            "a calibration or an embedding is none",
        ),
        (
            blocks.encode(
                b"COMP",
                0,
                b'{"query":"","gallery":"","report":"","finding":"","calibration":{"genuine":1}}',
            ),
            "a calibration or an embedding is none",
        ),
    ],
)
def test_blocks_that_say_what_cannot_be_are_refused(path, block, message):
    written, _ = opening.open_to_write(path, None)
    written.append(block, version=3)
    written.close()
    with pytest.raises(InputError, match=f"damaged.*{message}"):
        cosines(path, OLD)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("action", ["move", "restore", "forget"])
def test_stopped_at_any_write_each_entry_is_moved_whole_or_not(path, tmp_path, monkeypatch, action):
    """Stops at every call that changes the disk once, half done where it can be."""
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 15)
    originals = planes(path)
    if action != "move":
        with FileGallery(str(path)) as gallery:
            move(gallery)
    steps, moments, outcomes = 0, 0, set()

    def counted(call_name: str):
        whole = getattr(os, call_name)

        def call(*arguments):
            nonlocal steps
            steps += 1
            if steps == moments:
                if call_name == "pwrite" and len(arguments[1]) > 128:  # less is within one sector
                    whole(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                raise Killed
            return whole(*arguments)

        return call

    for call_name in ("pwrite", "fsync", "ftruncate", "replace", "fchmod", "unlink"):
        monkeypatch.setattr(os, call_name, counted(call_name))
    actions = {
        "move": move,
        "restore": lambda gallery: gallery.restore(),
        "forget": lambda gallery: gallery.forget_originals(),
    }
    finished = False
    while not finished:
        moments, steps = moments + 1, 10**6  # the preparation is not counted
        copy = tmp_path / f"{moments}.gallery"
        shutil.copy(path, copy)
        gallery, steps = FileGallery(str(copy)), 0
        try:
            actions[action](gallery)
            gallery.close()
            finished = True
        except Killed:
            gallery._forget()  # as the end of a process closes its files
        steps = 10**6
        found = planes(copy)
        assert found.keys() == originals.keys()
        is_moved = sum(maker == MOVED.fingerprint for maker, _ in found.values())
        outcomes.add(is_moved)
        for ident, (maker, content) in found.items():
            if maker == OLD.fingerprint:
                assert content == originals[ident][1]
        with FileGallery(str(copy)) as again:
            actions[action](again)
        if action != "forget":
            with FileGallery(str(copy)) as again:
                again.restore()
            assert planes(copy) == originals
        else:
            assert cosines(copy, NEW) == expected_cosines(range(ENTRIES), moved=True)
            held = copy.read_bytes()
            assert not any(trace[4:12] in held for _, trace in originals.values())
    assert (
        outcomes
        == {
            "move": {0, 15, 30, 40},
            "restore": {0, 40},
            "forget": {40},
        }[action]
    )
    assert moments > 5


def test_without_room_the_forgotten_vectors_are_told_to_be_there(path, monkeypatch):
    with FileGallery(str(path)) as gallery:
        move(gallery)

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", no_room)
    message = f"{ENTRIES} forgotten vectors are found by no search, but .*No space.*\n.*again"
    with FileGallery(str(path)) as gallery, pytest.raises(InputError, match=message):
        gallery.forget_originals()
    assert cosines(path, NEW) == expected_cosines(range(ENTRIES), moved=True)


def written_before(path: Path, number: int) -> None:
    """Writes a gallery of version 1 or 2 as programs of that time did."""
    packed = vectors.pack(vectors.unit(np.concatenate([embedding(0), embedding(1)])))
    encoder = b'{"fingerprint": "%s", "dims": %d, "name": "old"}'
    fits = b'{"query": "%s", "gallery": "%s", "report": "", "finding": "compatible"}'
    texts = [name(0)[0], name(1)[0], name(0)[1], name(1)[1]]
    encoded = [text.encode() for text in texts]
    ends = np.array(
        [
            [len(encoded[0]), len(encoded[0]) + len(encoded[1])],
            [len(encoded[2]), len(encoded[2]) + len(encoded[3])],
        ],
        "<u4",
    )
    parts = [
        blocks.encode(b"ENCO", 0, encoder % (OLD.fingerprint.encode(), OLD_DIMS)),
        blocks.encode(
            b"ENTR",
            2,
            ends.tobytes(),
            packed.scale.tobytes(),
            np.zeros(2, "<u2").tobytes(),
            packed.high.tobytes(),
            packed.low.tobytes(),
            *encoded,
        ),
        blocks.encode(b"COMP", 0, fits % (b"2" * 64, OLD.fingerprint.encode())),
    ]
    if number == 2:
        parts.append(blocks.encode(b"REMO", 1, (1).to_bytes(8, "little")))
    content = b"".join(b"".join(part) for part in parts)
    header = blocks.sealed(blocks.HEADER.pack(blocks.MAGIC, number, OLD_DIMS))
    commit = blocks.sealed(blocks.COMMIT.pack(blocks.FIRST_BLOCK + len(content), 1))
    path.write_bytes(header + commit + content)


@pytest.mark.parametrize("number", [1, 2])
def test_a_gallery_of_an_earlier_version_is_read_and_appended_to(tmp_path, number):
    path = tmp_path / "people.gallery"
    written_before(path, number)
    there = [0, 1] if number == 1 else [0]
    assert cosines(path, OLD) == expected_cosines(there, moved=False)
    with FileGallery(str(path)) as gallery:
        assert gallery.describe().entries == {OLD: len(there)}
        query = embedding(1000)
        assert len(gallery.search("2" * 64, query, 5)[0]) == len(there)
        assert add(gallery, 5, 6) == 2
    assert version(path) == 1  # which programs of that time go on reading
    assert cosines(path, OLD) == expected_cosines([*there, 5, 6], moved=False)
    with FileGallery(str(path)) as gallery:
        gallery.declare(FITS_MOVED)
        assert move(gallery) == len(there) + 2
    assert cosines(path, NEW) == expected_cosines([*there, 5, 6], moved=True)


def test_a_query_has_one_compatible_embedding_for_each(path):
    with FileGallery(str(path)) as gallery, pytest.raises(InputError, match="each has one"):
        gallery.find(Query(OLD.fingerprint, np.ones((2, 8)), np.ones((1, 8))), 1)
