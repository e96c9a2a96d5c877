import json

import pytest

from bct_keras.errors import InputError
from bct_keras.untrusted import json_files
from bct_keras.untrusted.json_files import DEEPEST, field, parse_json, read_object


def said(content: bytes) -> str:
    with pytest.raises(InputError) as error:
        parse_json(content, "report.json")
    (line,) = str(error.value).split("\n")
    return line


@pytest.mark.parametrize(
    "value", [{"a": [1, -2.5, 'ä\\"[{', None, True]}, [], "[[[", 0, float("inf")]
)
def test_what_python_writes_is_read(value):
    assert parse_json(json.dumps(value).encode(), "x") == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(), "x") == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff", "byte 0 is not of UTF-8"),
        (b"1e400", "the number 1e400 is too large"),
        (b"-1e999", "the number -1e999 is too large"),
        (b"9" * 30, "the number 999999999999999999999999999999 is too large"),
        (b"9" * 5000, "is too large"),
        (
            b"[" * 100_000 + b"]" * 100_000,
            "lists and objects lie 100 deep in each other at byte 100",
        ),
        (
            b'{"a":' * 500 + b"0" + b"}" * 500,
            "lists and objects lie 100 deep in each other at byte 500",
        ),
        (b'"\\ud800"', "half a character"),
        (b'{"\\udfff": 1}', "half a character"),
        (b"[" + b"[]," * 2_000_000 + b"[]]", "more than 2,000,000 values"),
    ],
)
def test_damage_is_one_line(content, reason):
    line = said(content)
    assert line.startswith("report.json cannot be read as JSON: ")
    assert reason in line


def test_as_deep_as_it_may_be():
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST, "x")
    # Brackets in a text do not count, whatever stands before them.
    text = '\\"' + "[" * 1000
    assert parse_json(json.dumps([text]).encode(), "x") == [text]


def test_a_pair_of_halves_is_a_character():
    assert parse_json(b'"\\ud83d\\ude00"', "x") == "😀"


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (1, int, "a whole number"),
        (1.5, float, "a number"),
        ("a", str, "a text"),
        (True, bool, "true or false"),
        ([1], list, "a list"),
        ({"a": 1}, dict, "an object of keys and values"),
    ],
)
def test_a_field_is_of_its_kind_and_nothing_else(value, kind, wanted):
    assert field({"key": value}, "key", kind, "x") == value
    for other in (None, 1, 1.5, "a", True, [1], {"a": 1}, -1, float("nan"), float("inf")):
        fits = type(other) is kind or (kind is float and type(other) is int)
        if (
            fits
            and other in (1, 1.5, -1.0, "a", [1], {"a": 1})
            and not (kind is int and other == -1)
        ):
            field({"key": other}, "key", kind, "x")
            continue
        with pytest.raises(InputError, match=rf"^x: 'key' has to be {wanted}, not "):
            field({"key": other}, "key", kind, "x")


def test_a_field_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"^manifest.json is not complete: 'dims' is missing$"):
        field({}, "dims", int, "manifest.json")
    with pytest.raises(
        InputError, match=r"^x: an object of keys and values was expected, not \[\]$"
    ):
        field([], "dims", int, "x")


def test_an_object_is_needed(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(
        InputError, match=r"x.json holds \[1\], and an object of keys and values was expected"
    ):
        read_object(tmp_path / "x.json")


def test_a_long_value_is_shown_in_part():
    assert len(json_files.shown("a" * 1000)) == 60
