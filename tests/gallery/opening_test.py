"""Tells whose file a gallery is, before and after it is written anew.

And what stays behind where that fails.
"""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import file, opening
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.file import FileGallery

DIMS = 4
OLD = KnownEncoder("0" * 64, DIMS, "old")


@pytest.fixture(autouse=True)
def tidied_at_each_end(monkeypatch):
    monkeypatch.setattr(file, "SPARE_BLOCKS", 0)
    monkeypatch.setattr(opening, "LOCK_SECONDS", 0)


def add(path: Path, *numbers: int) -> None:
    with FileGallery(str(path)) as gallery:
        for number in numbers:
            gallery.add(OLD, [f"id {number}"], ["label"], np.ones((1, DIMS)))


def entries(path: Path) -> int:
    with FileGallery(str(path)) as gallery:
        return sum(gallery.describe().entries.values())


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "kept").mkdir()
    path = tmp_path / "kept" / "people.gallery"
    add(path, 0)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_tidying_keeps_who_may_read(path, mode):
    path.chmod(mode)
    inode = path.stat().st_ino
    if mode != 0o444 or os.access(path, os.W_OK):  # root may write to anything
        add(path, 1, 2)
        assert path.stat().st_ino != inode
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_nobody_reads_the_new_file_before_it_has_the_permissions_of_the_old_one(path, monkeypatch):
    modes, write = [], opening.write_all

    def seen(descriptor, *given):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, *given)

    path.chmod(0o644)
    monkeypatch.setattr(opening, "write_all", seen)  # by which a file begins
    add(path, 1, 2)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_group_that_cannot_be_kept_lets_no_other_group_in(path, monkeypatch):
    def refused(_, user, group):
        if group != -1:
            raise PermissionError(errno.EPERM, "not permitted")

    path.chmod(0o664)
    monkeypatch.setattr(os, "fchown", refused)
    add(path, 1, 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_tidying_keeps_the_owner_and_the_group(path):
    os.chown(path, 1234, 2345)
    add(path, 1, 2)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_symbolic_link_stays_one_and_its_file_is_tidied(path, tmp_path, absolute):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.gallery"
    link.symlink_to(path if absolute else "../kept/people.gallery")
    inode = path.stat().st_ino
    with FileGallery(str(link)) as reader:
        assert len(reader.search(OLD.fingerprint, np.ones((1, DIMS)), 9)[0]) == 1
        add(link, 1, 2)
        assert len(reader.search(OLD.fingerprint, np.ones((1, DIMS)), 9)[0]) == 3
    assert link.is_symlink()
    assert path.stat().st_ino != inode
    assert entries(path) == 3
    assert [each.name for each in path.parent.iterdir()] == ["people.gallery"]
    assert [each.name for each in link.parent.iterdir()] == ["link.gallery"]


@pytest.mark.parametrize("hard", [True, False])
def test_a_link_planted_at_the_partial_file_is_not_followed(path, tmp_path, hard):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    partial = opening.partial_of(path)
    partial.hardlink_to(victim) if hard else partial.symlink_to(victim)
    add(path, 1, 2)
    assert victim.read_text() == "precious"
    assert entries(path) == 3
    assert not path.is_symlink()
    assert not os.path.lexists(partial)


def test_a_link_planted_in_the_last_moment_is_not_followed_either(path, tmp_path, monkeypatch):
    victim, unlink = tmp_path / "victim", Path.unlink
    victim.write_text("precious")

    def planted(each, **given):
        unlink(each, **given)
        if each.suffix == ".partial":
            each.symlink_to(victim)

    monkeypatch.setattr(Path, "unlink", planted)
    with pytest.raises(FileExistsError):
        add(path, 1, 2)
    monkeypatch.undo()
    assert victim.read_text() == "precious"
    assert entries(path) == 3


@pytest.mark.parametrize("fails", ["pwrite", "fsync", "fchmod", "replace"])
def test_tidying_that_fails_keeps_neither_the_lock_nor_its_partial_file(path, monkeypatch, fails):
    whole = getattr(os, fails)

    def no_room(*given):
        if fails == "replace" or os.path.samefile(
            f"/proc/self/fd/{given[0]}", opening.partial_of(path)
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*given)

    gallery = FileGallery(str(path))
    gallery.add(OLD, ["id 1"], ["label"], np.ones((1, DIMS)))
    opening.partial_of(path).touch()  # so that it can be compared with
    monkeypatch.setattr(os, fails, no_room)
    with pytest.raises(OSError, match="No space left"):
        gallery.close()
    monkeypatch.undo()
    assert [each.name for each in path.parent.iterdir()] == ["people.gallery"]
    add(path, 2)  # the lock is free though `gallery` is still there
    assert entries(path) == 3


def test_what_a_killed_tidying_left_is_removed_by_the_next_writer(path):
    opening.partial_of(path).write_bytes(path.read_bytes())
    add(path, 1)
    assert [each.name for each in path.parent.iterdir()] == ["people.gallery"]


def test_a_file_that_took_the_place_of_the_gallery_is_not_written_over(path):
    gallery = FileGallery(str(path))
    gallery.add(OLD, ["id 1"], ["label"], np.ones((1, DIMS)))
    path.unlink()
    path.write_text("somebody else's")
    with pytest.raises(InputError, match="another file has taken the place"):
        gallery.close()  # tidies
    assert path.read_text() == "somebody else's"


def test_an_add_that_comes_to_nothing_leaves_no_gallery(tmp_path):
    gallery = FileGallery(str(tmp_path / "people.gallery"))
    gallery.begin_writing(OLD)
    assert gallery.path.exists()
    gallery.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null"), Path.mkdir])
def test_what_is_no_file_is_refused(tmp_path, make):
    path = tmp_path / "people.gallery"
    make(path)
    for use in (lambda gallery: gallery.describe(), lambda gallery: add(path, 9)):
        with FileGallery(str(path)) as gallery, pytest.raises((InputError, IsADirectoryError)):
            use(gallery)


def test_a_writer_waits_for_one_that_ends(path, monkeypatch):
    first = FileGallery(str(path))
    first.add(OLD, ["id 1"], ["label"], np.ones((1, DIMS)))
    monkeypatch.setattr(opening, "LOCK_SECONDS", 10)
    monkeypatch.setattr(opening.time, "sleep", lambda _: first.close())
    add(path, 2)
    assert entries(path) == 3
