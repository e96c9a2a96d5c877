import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import blocks, file, opening
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery

DIMS = 4
OLD = KnownEncoder("0" * 64, DIMS, "old")
NEW = KnownEncoder("1" * 64, DIMS, "new")
FITS = Compatibility(NEW.fingerprint, OLD.fingerprint, "2" * 64, "compatible")


def embedding(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(DIMS)


def add(gallery: FileGallery, *numbers: int, encoder: KnownEncoder = OLD) -> int:
    return gallery.add(
        encoder,
        [f"id {n}" for n in numbers],
        ["label"] * len(numbers),
        np.stack([*map(embedding, numbers)]),
    )


def there(path: Path, encoder: KnownEncoder = OLD) -> dict[str, str]:
    """Returns the ids that a new reader finds, each with the encoder that made it."""
    with FileGallery(str(path)) as gallery:
        found = gallery.search(encoder.fingerprint, np.ones((1, DIMS)), 10_000)[0]
    assert len({match.id for match in found}) == len(found)
    return {match.id: match.encoder for match in found}


@pytest.fixture
def path(tmp_path) -> Path:
    """Makes a small gallery with a block of every kind."""
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, 0, 1, 2)
        gallery.declare(FITS)
        gallery.replace(NEW, ["id 1"], ["label"], embedding(100)[None])
    return path


def test_a_flipped_byte_is_found_wherever_it_lies(path):
    whole = path.read_bytes()
    assert len(whole) < 3000
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        for use in (lambda gallery: gallery.describe(), lambda gallery: add(gallery, 9)):
            with (
                FileGallery(str(path)) as gallery,
                pytest.raises(InputError, match=r"damaged|no gallery"),
            ):
                use(gallery)
        assert path.read_bytes() == flipped


def test_a_search_finds_a_flipped_byte_too(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)
    with pytest.raises(InputError, match="damaged at byte"):
        there(path, NEW)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 127, 128, 500])
def test_a_file_that_was_cut_off_is_told(path, length):
    os.truncate(path, length)
    with pytest.raises(InputError, match=r"damaged|no gallery"):
        there(path, NEW)


def test_what_is_no_gallery_is_neither_read_nor_written_over(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam")
    for use in (lambda gallery: gallery.describe(), lambda gallery: add(gallery, 9)):
        with FileGallery(str(path)) as gallery, pytest.raises(InputError, match="is no gallery"):
            use(gallery)
    assert path.read_text() == "Dear Sir or Madam"


def test_a_later_version_is_refused(path):
    later = blocks.sealed(blocks.HEADER.pack(blocks.MAGIC, 4, DIMS))
    path.write_bytes(later + path.read_bytes()[64:])
    with pytest.raises(InputError, match="of version 4; this program reads versions 1 to 3"):
        there(path)


def test_one_writer_at_a_time_and_readers_meanwhile(path, monkeypatch):
    monkeypatch.setattr(opening, "LOCK_SECONDS", 0)
    with FileGallery(str(path)) as first, FileGallery(str(path)) as second:
        add(first, 3)
        with pytest.raises(InputError, match="another command is writing"):
            add(second, 4)
        assert len(there(path, NEW)) == 4
    with FileGallery(str(path)) as second:
        assert add(second, 4) == 1


def test_a_reader_sees_what_was_written_since_it_opened(path):
    with FileGallery(str(path)) as reader:
        assert len(reader.search(NEW.fingerprint, np.ones((1, DIMS)), 100)[0]) == 3
        with FileGallery(str(path)) as writer:
            add(writer, 3, 4)
            assert len(reader.search(NEW.fingerprint, np.ones((1, DIMS)), 100)[0]) == 5
            writer.replace(NEW, ["id 3"], ["label"], embedding(3)[None])
        found = reader.search(NEW.fingerprint, np.ones((1, DIMS)), 100)[0]
        assert {match.id for match in found if match.encoder == NEW.fingerprint} == {"id 1", "id 3"}


def test_unacknowledged_bytes_are_not_seen_and_then_forgotten(path):
    whole = path.read_bytes()
    # As a writer leaves it that was killed between its blocks and its commit.
    path.write_bytes(whole + whole[128:200])
    assert len(there(path, NEW)) == 3
    with FileGallery(str(path)) as gallery:
        add(gallery, 7)
    assert sorted(there(path, NEW)) == ["id 0", "id 1", "id 2", "id 7"]


class Killed(BaseException):
    pass


def test_stopped_at_any_write_it_keeps_what_was_acknowledged(path, tmp_path, monkeypatch):
    """Stops at every call that changes the disk once, half done where it can be."""
    monkeypatch.setattr(
        file, "SPARE_BLOCKS", 2
    )  # so that the end of the block below puts blocks together
    steps, moments = 0, 0

    def counted(name: str):
        whole = getattr(os, name)

        def call(*arguments):
            nonlocal steps
            steps += 1
            if steps == moments:
                if (
                    name == "pwrite" and len(arguments[1]) > 64
                ):  # a head is within one sector, which is written whole
                    whole(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                raise Killed
            return whole(*arguments)

        return call

    for name in ("pwrite", "fsync", "ftruncate", "replace"):
        monkeypatch.setattr(os, name, counted(name))
    finished = False
    while not finished:
        moments, steps = moments + 1, 10**6  # the preparation is not counted
        copy = tmp_path / f"{moments}.gallery"
        shutil.copy(path, copy)
        acknowledged, steps = {"id 0", "id 1", "id 2"}, 0
        gallery = FileGallery(str(copy))
        try:
            for number in (3, 4, 5):
                add(gallery, number)
                acknowledged.add(f"id {number}")
            gallery.replace(NEW, ["id 2"], ["label"], embedding(2)[None])
            gallery.close()
            finished = True
        except Killed:
            gallery._forget()  # as the end of a process closes its files
        steps = 10**6
        found = there(copy, NEW)
        assert acknowledged <= found.keys() <= acknowledged | {"id 3", "id 4", "id 5"}
        with FileGallery(str(copy)) as again:
            assert add(again, 0, 1, 2, 3, 4, 5, 6) == 7 - len(found)
        assert len(there(copy, NEW)) == 7
    assert moments > 20


def test_ending_puts_small_blocks_together_and_leaves_superseded_rows_out(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 8)
    monkeypatch.setattr(file, "SPARE_BLOCKS", 3)
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, *range(20))
        gallery.declare(FITS)
        for number in range(20):
            gallery.replace(NEW, [f"id {number}"], ["label"], embedding(100 + number)[None])
        gallery.replace(NEW, ["id 3"], ["label"], embedding(203)[None])
        before = gallery.search(NEW.fingerprint, np.ones((1, DIMS)), 100)[0]
    with FileGallery(str(path)) as gallery:
        assert gallery.search(NEW.fingerprint, np.ones((1, DIMS)), 100)[0] == before
        assert gallery.describe().entries == {NEW: 20}
        assert gallery.describe().compatible == [FITS]
        assert gallery.contents.live.all()
        assert [len(part.vectors) for part in gallery.contents.rows] == [8, 8, 4]
        assert add(gallery, 19, 20) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["people.gallery"]


def test_a_gallery_embedded_anew_is_no_larger_than_before(tmp_path):
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, *range(1000))
        gallery.declare(FITS)
    before = path.stat().st_size
    with FileGallery(str(path)) as gallery:
        some = [f"id {number}" for number in range(500)]
        gallery.replace(NEW, some, ["label"] * 500, np.ones((500, DIMS)))
        assert path.stat().st_size > before
        gallery.replace(NEW, some[:1], ["label"], np.ones((1, DIMS)))
    assert path.stat().st_size <= before + 300  # another encoder


def test_a_writer_that_goes_on_keeps_the_blocks_few(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "SPARE_BLOCKS_MEANWHILE", 5)
    monkeypatch.setattr(opening, "LOCK_SECONDS", 0)
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery, FileGallery(str(path)) as reader:
        for number in range(40):
            assert add(gallery, number) == 1
            assert len(gallery.contents.rows) <= 6
            assert len(reader.search(OLD.fingerprint, np.ones((1, DIMS)), 100)[0]) == number + 1
            with (
                FileGallery(str(path)) as second,
                pytest.raises(InputError, match="another command is writing"),
            ):
                add(second, 99)
    assert len(there(path)) == 40


def test_an_empty_file_becomes_no_gallery_by_a_declaration(tmp_path):
    path = tmp_path / "people.gallery"
    path.touch()
    with FileGallery(str(path)) as gallery, pytest.raises(InputError, match="is no gallery"):
        gallery.declare(FITS)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (blocks.encode(b"ABCD", 0, b""), "unknown kind"),
        (blocks.encode(b"ENCO", 0, b'{"fingerprint": 1}'), "no KnownEncoder"),
        (blocks.encode(b"COMP", 0, b"[1]"), "no Compatibility"),
        (blocks.encode(b"ENTR", 2**31, b"abc"), "shorter than what it holds"),
        (
            blocks.encode(b"REPL", 1, (9).to_bytes(8, "little"), bytes(4 + 2 + 2 * DIMS)),
            "an entry anew that is not",
        ),
        (
            blocks.encode(b"REPL", 1, bytes(8 + 4), b"\7\0", bytes(2 * DIMS)),
            "an encoder that is not there",
        ),
    ],
)
def test_blocks_that_say_what_cannot_be_are_refused_though_their_checksums_hold(
    path, block, message
):
    written, _ = opening.open_to_write(path, None)
    written.append(block, version=2)
    written.close()
    with pytest.raises(InputError, match=f"damaged.*{message}"):
        there(path, NEW)


def test_a_reader_follows_a_file_that_took_the_place_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "SPARE_BLOCKS", 0)
    path = tmp_path / "people.gallery"
    with FileGallery(str(path)) as gallery:
        add(gallery, 0)
    with FileGallery(str(path)) as reader:
        reader.refresh()
        inode = path.stat().st_ino
        with FileGallery(str(path)) as writer:
            add(writer, 1)
            add(writer, 2)
        assert path.stat().st_ino != inode
        assert len(reader.search(OLD.fingerprint, np.ones((1, DIMS)), 9)[0]) == 3


def test_equal_scores_come_in_the_order_of_entry(tmp_path):
    with FileGallery(str(tmp_path / "twins.gallery")) as gallery:
        gallery.add(OLD, ["b", "a", "c"], ["x", "y", "z"], np.ones((3, DIMS)))
        assert [
            match.id for match in gallery.search(OLD.fingerprint, np.ones((1, DIMS)), 3)[0]
        ] == ["b", "a", "c"]


def test_one_call_adds_more_than_one_block(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 8)
    with FileGallery(str(tmp_path / "people.gallery")) as gallery:
        assert add(gallery, *range(20)) == 20
        assert len(gallery.contents.rows) == 3
    assert len(there(tmp_path / "people.gallery")) == 20
