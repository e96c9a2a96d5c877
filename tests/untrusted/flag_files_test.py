"""Flag files that are none, and flags that name what is not to be called."""

import os
from pathlib import Path

import forked
import pytest

from bct_keras import specs
from bct_keras.augmentations import AUGMENTATIONS
from bct_keras.backbones import BACKBONES
from bct_keras.errors import InputError
from bct_keras.evaluate.protocols import PROTOCOLS
from bct_keras.gallery.kinds import GALLERIES, ORDERS
from bct_keras.heads import HEADS
from bct_keras.methods import METHODS
from bct_keras.optimizers import OPTIMIZERS
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.splits import SPLITS
from bct_keras.schedules import SCHEDULES
from bct_keras.untrusted import flag_files, own_code

TABLES = (
    AUGMENTATIONS,
    BACKBONES,
    HEADS,
    METHODS,
    OPTIMIZERS,
    SCHEDULES,
    SOURCES,
    SPLITS,
    PROTOCOLS,
    GALLERIES,
    ORDERS,
)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        flag_files.expanded(["--dims=4", f"--flagfile={path}"])
    return str(error.value)


def test_flag_files_of_the_project_are_read(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    files = list(Path("configs").rglob("*.flags"))
    assert files
    for file in files:
        flag_files.expanded([f"--flagfile={file}"])


def test_what_is_no_flag_file(tmp_path):
    path = tmp_path / "x.flags"
    os.mkfifo(path)
    assert "x.flags is a pipe" in refused(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "x.flags is a device" in refused(path)
    path.unlink()
    path.write_bytes(b"--dims=\xff")
    assert "x.flags, byte 7: this is no text in UTF-8" in refused(path)
    path.write_bytes(b"# fine\n--dims=\x1b[2J")
    assert "x.flags, line 2: this is no text of flags: --dims=\\x1b[2J" in refused(path)
    path.write_bytes(b"x" * (flag_files.LARGEST + 1))
    assert "x.flags has more than 1,048,576 bytes" in refused(path)
    assert "No such file" in refused(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 300, "File name too long"),
        ("~nobody_of_this_name/x.flags", "No such file"),
        ("round.flags", "Too many levels of symbolic links"),
    ],
)
def test_a_name_that_no_file_can_have(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "round.flags").symlink_to("round.flags")
    assert said in refused(Path(name))


def test_a_flag_of_a_thousand_letters(tmp_path):
    (tmp_path / "x.flags").write_text(f"--dims=3\n--{'x' * 5000}=3\n")
    assert "x.flags: there is no flag --xxx" in refused(tmp_path / "x.flags")
    with pytest.raises(InputError, match="the command line: there is no flag --yyy"):
        flag_files.expanded([f"--{'y' * 5000}"])


def test_where_a_flag_stands(tmp_path):
    path = tmp_path / "x.flags"
    path.write_text("# fine\n--dims=3\n\n-dmis=3\n--nojit\n")
    reader = flag_files.Reader()
    assert reader.read(["--seed=1", f"--flagfile={path}"])[1] == "--dims=3"
    assert reader.place_of("--dims=3: too few") == f"{path}, line 2: "
    assert reader.place_of("--dmis") == f"{path}, line 4: "
    assert reader.place_of("--nojit") == f"{path}, line 5: "
    assert reader.place_of("--seed=1: too few") == reader.place_of("--dim") == ""


def test_a_flag_file_in_itself(tmp_path):
    (tmp_path / "a.flags").write_text(f"--flagfile={tmp_path / 'b.flags'}\n")
    (tmp_path / "b.flags").write_text(f"--dims=3\n--flagfile={tmp_path / 'a.flags'}\n")
    assert "a.flags names itself as a --flagfile, by way of" in refused(tmp_path / "a.flags")


def test_flag_files_that_grow_without_end(tmp_path):
    """Writes ten levels, each naming the next one ten times: ten billion lines."""
    for level in range(10):
        (tmp_path / f"{level}").write_text(f"--flagfile={tmp_path / str(level + 1)}\n" * 10)
    (tmp_path / "10").write_text("--dims=4\n")
    assert "more than 100 flag files name each other" in refused(tmp_path / "0")


@pytest.mark.parametrize(
    "way", ["--flagfile=x", "-flagfile=x", "--flagfile= x ", "--flagfile x", "-flagfile x"]
)
def test_the_ways_to_name_one(way, tmp_path, monkeypatch):
    (tmp_path / "x").write_text("# a remark\n\n  --dims=4  \n// another\n--head=softmax\n")
    monkeypatch.chdir(tmp_path)
    arguments = way.split(" ", 1) if way.endswith(" x") else [way]
    read = flag_files.expanded(["--dims=3", *arguments, "--seed=1", "--", "--flagfile=x"])
    assert read == ["--dims=3", "--dims=4", "--head=softmax", "--seed=1", "--", "--flagfile=x"]


def test_files_of_the_package_are_found_where_the_working_folder_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = flag_files.expanded(["--flagfile=mixbct.flags"])
    assert "--method=mixbct(mix_ratio=0.5)" in ours
    assert "--backbone=iresnet_small(width=24)" in ours  # of base.flags, which it names
    assert flag_files.expanded(["--flagfile=configs/mixbct.flags"]) == ours
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.flags").write_text("--dims=5\n")
    mixed = flag_files.expanded(["--flagfile=mixbct.flags"])
    assert mixed[0] == "--dims=5"
    assert mixed[-1] == "--workdir=runs/mixbct"
    with pytest.raises(InputError, match=r"no_such\.flags cannot be read: No such file"):
        flag_files.expanded(["--flagfile=no_such.flags"])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: min(table))
@pytest.mark.parametrize(
    "call",
    [
        "os:system(command='touch FILE')",
        "subprocess:getoutput(cmd='touch FILE')",
        "pathlib:Path(FILE)",
    ],
)
def test_what_is_of_no_right_kind_is_not_called(tmp_path, table, call):
    file = tmp_path / "touched"
    with pytest.raises(InputError, match=r"is not called, because|makes a Path, "):
        specs.build(table, call.replace("FILE", str(file)))
    assert not file.exists()


@pytest.mark.parametrize("table", [BACKBONES, SCHEDULES, ORDERS], ids=lambda table: min(table))
def test_all_functions_of_a_table_say_that_they_make_the_same(table):
    (kind,) = {own_code.returned(entry) for entry in table.values()}
    assert kind is not None


def test_a_function_of_ones_own_says_what_it_makes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    code = (
        "import keras\ndef said(image_size: int, dims: int) -> keras.Model:\n    return"
        " keras.Sequential()\n"
    )
    code += "def unsaid(image_size: int, dims: int):\n    raise AssertionError\n"
    (tmp_path / "own_backbones.py").write_text(code)
    assert specs.build(BACKBONES, "own_backbones:said", image_size=28, dims=4).layers == []
    said = (
        "does not say that it makes a Model: write it as a class of that kind, or .* with the"
        " annotation -> Model"
    )
    with pytest.raises(InputError, match=said):
        specs.build(BACKBONES, "own_backbones:unsaid", image_size=28, dims=4)


@pytest.mark.long
def test_a_command_ends_with_a_line(tmp_path):
    path = tmp_path / "x.flags"
    path.write_text(
        f"--source=os:system(command='touch {tmp_path / 'touched'}')\n--out={tmp_path / 'out'}\n"
    )
    ended = forked.run("-m", "bct_keras.prepare", f"--flagfile={path}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: 'os:system(command=")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "touched").exists()
