"""What is removed from a gallery file is found by nobody and, once it is tidy, is nowhere in it."""

import errno
import os
import random
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import blocks, file, opening, vectors
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery

DIMS = 32
OLD = KnownEncoder("0" * 64, DIMS, "old")
NEW = KnownEncoder("1" * 64, DIMS, "new")
FITS = Compatibility(NEW.fingerprint, OLD.fingerprint, "2" * 64, "compatible")
ENTRIES = 40


def embedding(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((1, DIMS))


def name(number: int) -> tuple[str, str]:
    return f"identity-{number:04}/photo.jpg", f"Zoë number {number:04}"


def traces(number: int, *embeddings: np.ndarray) -> list[bytes]:
    """Yields every run of bytes by which an entry could be known."""
    found = [text.encode() for text in name(number)]
    for each in embeddings:
        packed = vectors.pack(vectors.unit(each))
        found += [packed.high.tobytes(), packed.low.tobytes()]
    return found


def add(gallery: FileGallery, *numbers: int) -> int:
    names = [name(number) for number in numbers]
    embeddings = np.concatenate([embedding(number) for number in numbers])
    return gallery.add(
        OLD, [ident for ident, _ in names], [label for _, label in names], embeddings
    )


def there(path: Path) -> set[str]:
    with FileGallery(str(path)) as gallery:
        found = gallery.search(NEW.fingerprint, embedding(0), 10_000)[0]
        assert sum(gallery.describe().entries.values()) == len(found)
    return {match.id for match in found}


def ids(*numbers: int) -> set[str]:
    return {name(number)[0] for number in numbers}


@pytest.fixture
def path(tmp_path) -> Path:
    """Makes a gallery of several blocks.

    Entry 7 was embedded anew, so that its old embedding is still in the file.
    """
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        for start in range(0, ENTRIES, 10):
            add(gallery, *range(start, start + 10))
        gallery.declare(FITS)
        gallery.replace(NEW, [name(7)[0]], [name(7)[1]], embedding(107))
    return path


@pytest.fixture
def pending(path, monkeypatch) -> Path:
    """Makes a gallery as a kill between a removal and the tidying leaves it.

    Entries 3 and 7 are removed and their bytes are there.
    """
    with monkeypatch.context() as stopped:
        stopped.setattr(FileGallery, "_tidy", lambda *_: None)
        with FileGallery(str(path)) as gallery:
            gallery.remove(ids(3, 7))
    return path


def test_the_bytes_of_what_was_removed_are_nowhere_in_the_folder(path):
    gone = (
        traces(3, embedding(3))
        + traces(7, embedding(7), embedding(107))
        + traces(25, embedding(25))
    )
    assert all(trace in path.read_bytes() for trace in gone)
    kept = traces(4, embedding(4))
    with FileGallery(str(path)) as gallery:
        removal = gallery.remove(ids(3, 7), [name(25)[1]])
        assert removal.entries == 3
        assert removal.erased == "their bytes are no longer in the file"
        whole = path.read_bytes()  # at once, not only when the writer ends
    assert [entry.name for entry in path.parent.iterdir()] == ["people.gallery"]
    assert not any(trace in whole for trace in gone)
    assert all(trace in whole for trace in kept)
    assert there(path) == ids(*range(ENTRIES)) - ids(3, 7, 25)


def test_a_removal_that_was_stopped_before_it_tidied_is_done_all_the_same(pending):
    assert there(pending) == ids(*range(ENTRIES)) - ids(3, 7)
    with FileGallery(str(pending)) as gallery:
        remarks = ", ".join(gallery.describe().remarks)
        assert (
            "2 removed entries still in it until the next command that writes to it ends" in remarks
        )
        assert (
            "superseded" not in remarks
        )  # what is left of entry 7's first embedding counts as removed
        assert gallery.entries_of_others(NEW.fingerprint)[0] == sorted(
            ids(*range(ENTRIES)) - ids(3, 7)
        )
    assert traces(7, embedding(7), embedding(107))[0] in pending.read_bytes()


@pytest.mark.parametrize("by", ["add", "add again", "declare", "replace", "remove", "remove again"])
def test_whoever_writes_next_erases_what_a_stopped_removal_left(pending, by):
    with FileGallery(str(pending)) as gallery:
        if by == "add":
            add(gallery, 99)
        if by == "add again":
            assert add(gallery, 0, 1) == 0
        if by == "declare":
            gallery.declare(FITS)
        if by == "replace":
            assert gallery.replace(NEW, [name(8)[0]], [name(8)[1]], embedding(8)) == 1
        if by == "remove":
            gallery.remove(ids(0))
        if by == "remove again":
            assert gallery.remove(ids(3)).unknown_ids == [name(3)[0]]
    whole = pending.read_bytes()
    assert not any(
        trace in whole
        for trace in traces(3, embedding(3)) + traces(7, embedding(7), embedding(107))
    )
    assert blocks.HEADER.unpack(whole[: blocks.HEADER.size])[1] == 1
    expected = ids(*range(ENTRIES)) - ids(3, 7)
    assert there(pending) == {"add": expected | ids(99), "remove": expected - ids(0)}.get(
        by, expected
    )


def test_a_program_that_knows_no_removals_refuses_the_file_that_holds_them(pending):
    assert blocks.HEADER.unpack(pending.read_bytes()[: blocks.HEADER.size])[1] == 2


def test_a_reader_that_is_open_finds_what_was_removed_no_more(path):
    with FileGallery(str(path)) as reader:
        assert len(reader.search(NEW.fingerprint, embedding(3), 100)[0]) == ENTRIES
        with FileGallery(str(path)) as writer:
            writer.remove(ids(3))
            found = reader.search(NEW.fingerprint, embedding(3), 100)[0]
    assert {match.id for match in found} == ids(*range(ENTRIES)) - ids(3)


def test_one_writer_adds_embeds_anew_and_removes_in_any_order(tmp_path, monkeypatch):
    """Compares with a plain dictionary; the file is tidied in between as well."""
    monkeypatch.setattr(file, "SPARE_BLOCKS_MEANWHILE", 6)
    draw, model, path = random.Random(0), {}, tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, 0)
        gallery.declare(FITS)
        model[0] = embedding(0)
        for step in range(150):
            some = draw.sample(range(30), 3)
            if step % 3 == 0:
                add(gallery, *some)
                for number in some:
                    model.setdefault(number, embedding(number))
            elif step % 3 == 1:
                new = [embedding(1000 * step + number) for number in some]
                names = [name(number) for number in some]
                given = (
                    [ident for ident, _ in names],
                    [label for _, label in names],
                    np.concatenate(new),
                )
                assert gallery.replace(NEW, *given) == len(set(some) & model.keys())
                model |= {
                    number: each for number, each in zip(some, new, strict=True) if number in model
                }
            else:
                removal = gallery.remove(ids(*some[:2]), [name(some[2])[1]])
                assert removal.entries == len(set(some) & model.keys())
                assert set(removal.unknown_ids) == ids(*set(some[:2]) - model.keys())
                model = {number: each for number, each in model.items() if number not in some}
            found = gallery.search(NEW.fingerprint, embedding(5), 100)[0]
            cosines = {
                name(number)[0]: float((vectors.unit(each) @ vectors.unit(embedding(5)).T)[0, 0])
                for number, each in model.items()
            }
            assert {match.id: pytest.approx(match.score, abs=1e-3) for match in found} == cosines
    assert there(path) == ids(*model)


def test_everybody_can_be_removed_and_others_come_after_them(path):
    with FileGallery(str(path)) as gallery:
        assert gallery.remove(ids(*range(ENTRIES))).entries == ENTRIES
        assert gallery.search(NEW.fingerprint, embedding(0), 5) == [[]]
        assert gallery.describe().entries == {}
    assert there(path) == set()
    with FileGallery(str(path)) as gallery:
        assert gallery.encoders_in_use() == {}
        assert add(gallery, 3, 50) == 2
    assert there(path) == ids(3, 50)


def test_a_gallery_whose_maker_removes_everybody_stays(tmp_path):
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, 0)
        gallery.remove(ids(0))
    with FileGallery(str(path)) as gallery:
        assert gallery.describe().entries == {}


def test_of_a_file_with_another_name_it_is_told_that_the_bytes_are_there(path, tmp_path):
    (tmp_path / "copy.gallery").hardlink_to(path)
    with FileGallery(str(path)) as gallery:
        assert gallery.remove(ids(3)).erased.endswith(
            "but are where the file has other names (hard links)"
        )


def test_without_room_to_tidy_the_entry_is_removed_and_it_is_told_that_its_bytes_are_there(
    path, monkeypatch
):
    whole = os.replace

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", no_room)
    message = (
        "1 removed entries are found by no search, but their bytes are still in the file.*No space"
        " left.*\n.*again"
    )
    with FileGallery(str(path)) as gallery, pytest.raises(InputError, match=message):
        gallery.remove(ids(3))
    assert there(path) == ids(*range(ENTRIES)) - ids(3)
    monkeypatch.setattr(os, "replace", whole)
    with FileGallery(str(path)) as gallery:
        assert gallery.remove(ids(3)).entries == 0
    assert not any(trace in path.read_bytes() for trace in traces(3, embedding(3)))


class Killed(BaseException):
    pass


def test_stopped_at_any_write_a_removal_is_done_or_not(path, tmp_path, monkeypatch):
    """Stops at every call that changes the disk once, half done where it can be."""
    steps, moments, outcomes = 0, 0, set()
    before, after = ids(*range(ENTRIES)), ids(*range(ENTRIES)) - ids(3, 7, 25)

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
    finished = False
    while not finished:
        moments, steps = moments + 1, 10**6  # the preparation is not counted
        copy = tmp_path / f"{moments}.gallery"
        shutil.copy(path, copy)
        gallery, steps = FileGallery(str(copy)), 0
        try:
            gallery.remove(ids(3, 7), [name(25)[1]])
            gallery.close()
            finished = True
        except Killed:
            gallery._forget()  # as the end of a process closes its files
        steps = 10**6
        found = there(copy)
        assert found in (before, after)
        outcomes.add(len(found))
        with FileGallery(str(copy)) as again:
            again.remove(ids(3, 7, 25))
        assert there(copy) == after
        left = b"".join(each.read_bytes() for each in tmp_path.glob(f"*{moments}.gallery*"))
        assert not any(
            trace in left
            for trace in traces(3, embedding(3)) + traces(7, embedding(7), embedding(107))
        )
    assert outcomes == {len(before), len(after)}
    assert moments > 15


def test_a_flipped_byte_is_found_wherever_it_lies(pending):
    whole = pending.read_bytes()
    for position in range(0, len(whole), 13):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        pending.write_bytes(flipped)
        for use in (lambda gallery: gallery.describe(), lambda gallery: gallery.remove(ids(9))):
            with (
                pytest.raises(InputError, match=r"damaged|no gallery"),
                FileGallery(str(pending)) as gallery,
            ):
                use(gallery)
        assert pending.read_bytes() == flipped


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.long)])
def test_a_damaged_gallery_is_told_in_a_plain_line_or_used_as_it_is(pending, count):
    draw, whole, told = random.Random(0), pending.read_bytes(), 0
    for _ in range(count):
        pending.write_bytes(damaged(draw, bytearray(whole)))
        for use in (
            lambda gallery: gallery.search(NEW.fingerprint, embedding(3), 5),
            lambda gallery: gallery.describe(),
            lambda gallery: gallery.remove(ids(9), [name(11)[1]]),
        ):
            lines = ""
            try:
                with FileGallery(str(pending)) as gallery:
                    use(gallery)
            except InputError as error:
                lines = str(error)
            told += bool(lines)
            assert len(lines.splitlines()) <= 2
    assert told > count


def damaged(draw: random.Random, content: bytearray) -> bytes:
    """Flips, cuts, doubles, overwrites or exchanges some bytes.

    Half the time every head is then sealed anew.
    """
    for _ in range(draw.randint(1, 3)):
        if not content:
            break
        start, length = draw.randrange(len(content)), draw.choice([1, 4, 8, 64, 200, 3000])
        start = draw.choice([start, start // 64 * 64])
        kind = draw.choice(["flip", "cut", "double", "noise", "end"])
        if kind == "flip":
            content[start] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del content[start : start + length]
        elif kind == "double":
            content[start:start] = content[start : start + length]
        elif kind == "noise":
            content[start : start + length] = draw.randbytes(len(content[start : start + length]))
        elif draw.random() < 0.3:
            del content[start:]
    return sealed_anew(content) if draw.random() < 0.5 else bytes(content)


def sealed_anew(content: bytearray) -> bytes:
    """Makes the checksums hold again where a head can be made out.

    So only what the damage says can give it away.
    """
    heads, position = [0, blocks.HEAD_BYTES], blocks.FIRST_BLOCK
    while position + 64 <= len(content):
        heads.append(position)
        length = int.from_bytes(content[position + 8 : position + 16], "little")
        payload = bytes(content[position + 64 : position + 64 + length])
        content[position + 16 : position + 20] = blocks.CHECKSUM.pack(zlib.crc32(payload))
        position += 64 + length
    for start in heads:
        content[start : start + 64] = blocks.sealed(bytes(content[start : start + 60]))
    return bytes(content)


def test_the_lock_is_taken_before_it_is_looked_who_is_there(path, monkeypatch):
    monkeypatch.setattr(opening, "LOCK_SECONDS", 0)
    with FileGallery(str(path)) as first:
        add(first, 99)
        with (
            FileGallery(str(path)) as second,
            pytest.raises(InputError, match="another command is writing"),
        ):
            second.remove(["nobody"])
