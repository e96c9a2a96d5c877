import hashlib
from pathlib import Path

import pytest

import bct_keras
from bct_keras import artefacts
from bct_keras.errors import InputError

MADE_FROM = {"data": "d1", "seed": 3}


@pytest.fixture
def made(tmp_path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    artefacts.write_manifest(folder, "report", MADE_FROM, records=5)
    return folder


def test_the_fingerprint_is_of_the_value_not_of_how_it_is_held():
    # sha256 of the JSON text without spaces, keys in order, every character in ASCII
    text = '{"a":[1,2],"\\u00e4":null}'
    assert (
        artefacts.fingerprint({"ä": None, "a": (1, 2)}) == hashlib.sha256(text.encode()).hexdigest()
    )
    assert artefacts.fingerprint({"a": [1, 2], "ä": None}) == artefacts.fingerprint(
        {"ä": None, "a": (1, 2)}
    )
    assert artefacts.fingerprint([1, 2]) != artefacts.fingerprint([2, 1])


def test_the_sha256_of_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    # The example of FIPS 180-2
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert artefacts.file_sha256(tmp_path / "file") == expected


def test_a_manifest_tells_what_it_was_given(made):
    assert artefacts.read_manifest(made, "report") == {
        "kind": "report",
        "version": bct_keras.__version__,
        "made_from": MADE_FROM,
        "records": 5,
    }
    assert artefacts.kind_of(made) == "report"
    assert [file.name for file in made.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            None,
            "made is not a report: it has no manifest.json; bct evaluate makes one",
        ),
        (b"", "made/manifest.json cannot be read as JSON: Expecting value"),
        (b'{"kind": "rep', "made/manifest.json cannot be read as JSON: Unterminated string"),
        (b"\xff\xfe", "made/manifest.json cannot be read as JSON: byte 0 is not of UTF-8"),
        (b"[]", "made is not a report: its manifest.json says 'list'"),
        (b"{}", "made is not a report: its manifest.json says 'None'"),
        (
            b'{"kind": "data set", "made_from": {}}',
            "made is not a report: its manifest.json says 'data set'",
        ),
        (
            b'{"kind": "report"}',
            "made/manifest.json is not complete: it does not say what the report was made from",
        ),
        (b'{"kind": "report", "made_from": 1}', "made/manifest.json is not complete"),
    ],
)
def test_a_manifest_that_is_none_is_told(made, content, said):
    (made / "manifest.json").unlink()
    if content is not None:
        (made / "manifest.json").write_bytes(content)
    with pytest.raises(InputError) as error:
        artefacts.read_manifest(made, "report")
    assert said in str(error.value)


def test_a_folder_that_is_not_there_is_told(tmp_path, made):
    for path in (tmp_path / "nothing", made / "manifest.json"):
        with pytest.raises(InputError, match=r"no such folder \(a report was expected\)"):
            artefacts.read_manifest(path, "report")


@pytest.mark.parametrize("content", [None, b"", b"[]", b"1", b"{}", b"\xff"])
def test_a_folder_that_says_nothing_is_of_no_kind(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    assert artefacts.kind_of(tmp_path) is None


def test_is_current(made, tmp_path):
    assert artefacts.is_current(made, "report", dict(MADE_FROM))
    assert not artefacts.is_current(tmp_path / "nothing", "report", MADE_FROM)
    (tmp_path / "empty").mkdir()
    assert not artefacts.is_current(tmp_path / "empty", "report", MADE_FROM)


@pytest.mark.parametrize(
    ("made_from", "said"),
    [
        ({"data": "d2", "seed": 3}, r"\(data: 'd1' there, 'd2' now\)"),
        ({"data": "d1"}, r"\(seed: 3 there, None now\)"),
        (MADE_FROM | {"new": 1}, r"\(new: None there, 1 now\)"),
    ],
)
def test_a_folder_made_from_something_else_is_not_written_over(made, made_from, said):
    with pytest.raises(
        InputError, match=rf"made is there, made from something else {said}; choose another folder"
    ):
        artefacts.is_current(made, "report", made_from)


@pytest.mark.parametrize(
    "check",
    [artefacts.check_place, lambda folder, kind: artefacts.is_current(folder, kind, MADE_FROM)],
)
def test_a_place_that_holds_something_else_is_refused(made, tmp_path, check):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for folder in (tmp_path / "mine", tmp_path / "mine" / "notes.txt"):
        with pytest.raises(
            InputError, match=rf"{folder.name} holds something else \(no manifest\.json\); choose"
        ):
            check(folder, "report")
    with pytest.raises(
        InputError, match=r"made holds something else \(its manifest\.json says 'report'\); choose"
    ):
        check(made, "export")


def test_a_place_is_free_or_of_one_of_the_kinds(made, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (made, tmp_path / "nothing", tmp_path / "empty"):
        artefacts.check_place(folder, "run", "report")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(InputError, match="made holds something else"):
        artefacts.check_place(made, "run")
