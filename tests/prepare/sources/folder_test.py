import os
from pathlib import Path

import pytest

from bct_keras.errors import InputError
from bct_keras.prepare.run import prepare
from bct_keras.prepare.sources.folder import Folder


@pytest.fixture
def photos(tmp_path, small_jpeg) -> Path:
    """Makes anna: 10.jpg, 9.JPEG, a.PNG; bert: 1.jpg; a folder without images; other files."""
    files = ["bert/1.jpg", "anna/a.PNG", "anna/9.JPEG", "anna/10.jpg"]
    for number, name in enumerate(files):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_jpeg(number))
    (tmp_path / "photos/empty").mkdir()
    (tmp_path / "photos/anna/notes.txt").write_text("none of them")
    (tmp_path / "photos/anna/deep.jpg").mkdir()
    (tmp_path / "photos/list.jpg").write_bytes(small_jpeg(9))
    return tmp_path / "photos"


def test_identities_and_images_are_in_the_order_of_their_names(photos, small_jpeg):
    source = Folder(str(photos))
    assert source.identities == ["anna", "bert"]
    assert source.labels.tolist() == [0, 0, 0, 1]
    records = [source.read(position) for position in range(4)]
    assert [record.id for record in records] == [
        "anna/10.jpg",
        "anna/9.JPEG",
        "anna/a.PNG",
        "bert/1.jpg",
    ]
    assert [record.image for record in records] == [small_jpeg(number) for number in (3, 2, 1, 0)]
    assert source.image_size == 112
    assert source.groups is None
    assert source.decode_to_check


def test_what_is_passed_over_is_told(photos, tmp_path):
    (photos / "anna/.hidden").write_text("nobody's business")
    assert [Path(name).name for name in Folder(str(photos)).passed_over] == [
        "deep.jpg",
        "notes.txt",
        "list.jpg",
    ]
    said = prepare(f"folder({photos})", "none", tmp_path / "made")
    assert (
        said.splitlines()[-1]
        == f"passed over, as no image that can be read: 3, such as {photos}/anna/deep.jpg"
    )


def test_an_image_whose_name_is_not_utf_8_is_left_out(photos, small_jpeg, tmp_path):
    for number, name in enumerate([b"anna/\xff.jpg", b"carl\xff/1.jpg", b"anna/\xff.txt"]):
        path = photos / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(small_jpeg(number))
    with pytest.raises(
        InputError, match=r"^anna/\\xff\.jpg: the name is not UTF-8; rename it\n.*on_bad=skip"
    ):
        prepare(f"folder({photos})", "none", tmp_path / "made")
    said = prepare(f"folder({photos})", "none", tmp_path / "made", on_bad="skip")
    said.encode()  # can be printed
    first, *left_out, last = said.splitlines()
    assert first.endswith("4 images of 2 identities")
    assert left_out == [
        "2 images left out:",
        r"  anna/\xff.jpg: the name is not UTF-8; rename it",
        r"  carl\xff/1.jpg: the name is not UTF-8; rename it",
    ]
    assert last.startswith("passed over, as no image that can be read: 4, ")
    assert rf"{photos}/anna/\xff.txt" in Folder(str(photos)).passed_over


def test_groups_are_what_stands_before_the_text(tmp_path, small_jpeg):
    for name in ("Greek__alpha", "Greek__beta", "Latin__a", "single"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(small_jpeg(0))
    assert Folder(str(tmp_path), group="__").groups == ["Greek", "Greek", "Latin", "single"]


def add(photos: Path, image: bytes) -> None:
    (photos / "anna/11.jpg").write_bytes(image)


def remove(photos: Path, image: bytes) -> None:
    (photos / "anna/10.jpg").unlink()


def rename(photos: Path, image: bytes) -> None:
    (photos / "anna/10.jpg").rename(photos / "bert/10.jpg")


def change(photos: Path, image: bytes) -> None:
    (photos / "anna/10.jpg").write_bytes(image + b"more")


@pytest.mark.parametrize("touch", [add, remove, rename, change])
def test_the_fingerprint_changes_with_the_files(photos, small_jpeg, touch):
    before = Folder(str(photos)).fingerprint()
    assert Folder(str(photos)).fingerprint() == before
    touch(photos, small_jpeg(5))
    assert Folder(str(photos)).fingerprint() != before


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        Folder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("identities", [0, 1])
def test_too_few_identities(tmp_path, small_jpeg, identities):
    for number in range(identities):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/1.jpg").write_bytes(small_jpeg(number))
    with pytest.raises(
        InputError,
        match=rf"{identities} identities with images found, at least 2 are needed.*\.jpg",
    ):
        Folder(str(tmp_path))


def test_images_too_small_for_an_encoder(photos):
    with pytest.raises(InputError, match="image_size=8: at least 16"):
        Folder(str(photos), image_size=8)
