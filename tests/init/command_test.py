"""`bct init DIR`: files are copied, and nothing that is there is overwritten."""

import os
import shutil

import pytest

from bct_keras.errors import InputError
from bct_keras.init import __main__ as command
from bct_keras.init.run import init


def test_the_files_are_copied_and_a_second_time_nothing_happens(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said, errors = here(command, *command.with_folder_as_flag(["bct init", "mine"])[1:])
    assert (status, errors) == (0, "")
    assert said.startswith("mine: ")
    assert (tmp_path / "mine/configs/mixbct.flags").is_file()
    assert (tmp_path / "mine/export/edge/c/bct_gallery.h").is_file()
    assert not list(tmp_path.rglob("node_modules")) + list(tmp_path.rglob("__pycache__"))
    count = sum(path.is_file() for path in (tmp_path / "mine").rglob("*"))
    again = init(tmp_path / "mine")
    assert (again.written, again.kept) == (0, count)


def test_a_file_that_was_changed_is_kept_and_nothing_is_written(tmp_path):
    changed = tmp_path / "export/serving/client.py"
    changed.parent.mkdir(parents=True)
    changed.write_text("mine")
    with pytest.raises(InputError, match=r"client\.py is there, and it is another file"):
        init(tmp_path)
    assert changed.read_text() == "mine"
    assert not (tmp_path / "configs").exists()


def test_a_link_to_nowhere_is_not_written_through(tmp_path):
    folder = tmp_path / "mine"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs/mixbct.flags").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"mixbct\.flags is there, and it is another file"):
        init(folder)
    assert not (tmp_path / "elsewhere").exists()


def test_a_copy_that_was_broken_off_is_not_in_the_way(tmp_path, monkeypatch):
    def broken_off(source, target):
        target.write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", broken_off)
        with pytest.raises(KeyboardInterrupt):
            init(tmp_path)
    assert init(tmp_path).kept == 0


def test_a_folder_of_an_object_store_is_refused(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("etils")
    status, _, errors = here(command, "--out=gs://bucket/mine")
    assert status == 1
    assert errors.startswith("error: gs://bucket/mine: these files go into a folder of this")
    assert not os.listdir(tmp_path)
