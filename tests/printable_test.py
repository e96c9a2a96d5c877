"""Names of others on the terminal, in Markdown and in errors: seen, never obeyed."""

import ast
import io
import re
from pathlib import Path

import pytest

from bct_keras.command import LAYOUT, LAYOUT_OF_BARS, PlainStream
from bct_keras.errors import LONGEST_LINE, BadImageError, InputError
from bct_keras.printable import code, line, markdown, table_row

# Clears the screen; sets the window's title; a C1 code that does the same; breaks lines; writes
# from right to left; has no width; is half a character; hides letters.
NASTY = "a\x1b[2Jb\x1b]0;x\x07c\x9b1md\r\ne\u2028f\u202eg\u200bh\udcffi\U000e0041\x00\x7f"


def test_a_line_shows_what_cannot_be_seen():
    shown = line(NASTY)
    # \xff: a byte of a name
    first, last = r"a\x1b[2Jb\x1b]0;x\x07c\x9b1md\x0d\x0ae", r"\xffi\U000e0041\x00\x7f"
    assert shown == first + r"\u2028f\u202eg\u200bh" + last
    assert shown.isprintable()
    assert shown.encode("utf-8")
    assert line(shown) == shown


@pytest.mark.parametrize("text", ["", "photos/Zoë 李 😀.jpg", "a\\nb", "100 % <b>|`*_"])
def test_what_can_be_seen_stays(text):
    assert line(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](http://a.b)", r"\[x\](http\://a.b)"),
        ("<script>&amp;", r"\<script\>\&amp;"),
        ("`code` *strong* ~~gone~~ $x$", r"\`code\` \*strong\* \~\~gone\~\~ \$x\$"),
        ("_quiet_ but new_old", r"\_quiet\_ but new_old"),
        ("www.x.y", r"www\.x.y"),
        ("a\\|b", r"a\\|b"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("---", r"\---"),
        ("TAR@FAR=1e-3", "TAR@FAR=1e-3"),
        ("+0.0000 ± 0.1414", "+0.0000 ± 0.1414"),
        ("-", "-"),
        ("retrieval(data/demo/test)", "retrieval(data/demo/test)"),
        ("a\n# b", r"a\\x0a# b"),
    ],
)
def test_markdown_shows_just_these_characters(text, expected):
    assert markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "`x`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a``b`c", "```a``b`c```"),
        ("", "`  `"),
        ("a\nb", r"`a\x0ab`"),
    ],
)
def test_code_cannot_be_left(text, expected):
    assert code(text) == expected


def test_a_cell_cannot_be_left():
    assert table_row(["a", markdown("b|c"), code("d|e")]) == r"| a | b\|c | `d\|e` |"


def test_an_errors_lines_are_its_own():
    error = InputError(f"{NASTY}: no such folder", "make it\nfirst")
    assert len(str(error).split("\n")) == 2
    assert all(text.isprintable() for text in str(error).split("\n"))
    assert str(error).endswith(r"make it\x0afirst")


def test_lines_of_an_error_are_given_apart():
    """A line break inside one would be shown as \\x0a: InputError("one line", "the other")."""
    for path in (Path(__file__).parents[1] / "bct_keras").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("InputError", "BadImageError")
            ):
                texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
                assert not [text for text in texts if isinstance(text, str) and "\n" in text], (
                    f"{path}:{node.lineno}"
                )


def test_an_error_of_an_error_and_one_from_another_process_say_the_same():
    error = BadImageError("one", "two")
    assert str(type(error)(*error.args)) == str(error) == "one\ntwo"


def test_a_line_that_nobody_would_read_lacks_its_middle():
    said = str(InputError("a" * 5000 + "b" * 5000))
    assert len(said) < LONGEST_LINE + 10
    assert re.fullmatch("a+ ... b+", said)


def test_a_stream_shows_text_and_lines_alone():
    stream = io.StringIO()
    print(f"score\n  {NASTY}", file=PlainStream(stream, LAYOUT))  # pyright: ignore
    assert [text.isprintable() for text in stream.getvalue().split("\n")] == [True] * len(
        stream.getvalue().split("\n")
    )
    assert stream.getvalue().startswith("score\n  a\\x1b[2Jb")


def test_a_progress_bar_still_moves():
    stream = io.StringIO()
    print("\r 50 %\x1b[A\n\x1b[2J", end="", file=PlainStream(stream, LAYOUT_OF_BARS))  # pyright: ignore
    assert stream.getvalue() == "\r 50 %\x1b[A\n\\x1b[2J"
