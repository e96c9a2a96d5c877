from dataclasses import dataclass
from typing import Any

import pytest

from bct_keras import specs
from bct_keras.errors import InputError


@dataclass
class Pictures:
    path: str
    image_size: int = 112
    group: str = ""


@dataclass
class Margin:
    classes: int
    dims: int
    margin: float = 0.5
    easy: bool = False
    margins: tuple = (1.0, 0.0)
    schedule: Any = None


@dataclass
class Bare:
    pass


def variadic(*values, size: int = 1, **others):
    return values, size, others


TABLE = {
    "pictures": Pictures,
    "margin": Margin,
    "bare": Bare,
    "variadic": variadic,
    "ns.v2:x": Bare,
}
TAKES = "margin takes: classes, dims, margin=0.5, easy=False, margins=(1.0, 0.0), schedule=None"


def built(spec: str, **given):
    return specs.build(TABLE, spec, **given)


@pytest.mark.parametrize("spec", ["bare", "bare()", " bare ", "bare ( )", "ns.v2:x"])
def test_a_name_alone(spec):
    assert built(spec) == Bare()


@pytest.mark.parametrize(
    "spec",
    [
        "pictures(photos, 64, group=__)",
        "pictures(photos, image_size=64, group='__')",
        "pictures( group = __ ,image_size= 64, path =photos , )",
        'pictures("photos",\n image_size=0x40,\n group="__")',
    ],
)
def test_arguments_by_place_and_by_name(spec):
    assert built(spec) == Pictures("photos", 64, "__")


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("data/x-1.y", "data/x-1.y"),
        ("~/my photos", "~/my photos"),
        # Paths that would be other things in Python
        ("2024", "2024"),
        ("1.50", "1.50"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("None", "None"),
        ("true", "true"),
        ("[1, 2]", "[1, 2]"),
        ("{[1]: 2}", "{[1]: 2}"),
        ("b'photos'", "b'photos'"),
        ("a (b, c)", "a (b, c)"),
        # Quotes take anything
        ("'a, b) c'", "a, b) c"),
        ('"it\'s, there"', "it's, there"),
        (r"'it\'s, there'", "it's, there"),
        (r"'ends in \\'", "ends in \\"),
        ("''", ""),
    ],
)
def test_a_text_is_taken_as_written(written, path):
    assert built(f"pictures({written})").path == path
    assert built(f"pictures(path={written}, image_size=28)") == Pictures(path, 28)


def test_an_equals_sign_in_a_text():
    assert built("pictures(path=a=b, group==)") == Pictures("a=b", group="=")
    assert built("pictures(./a=b)").path == "./a=b"


@pytest.mark.parametrize(
    "text",
    ["data/test", "007", "None", "", "a,b", "a (b", "a=b", "it's", '"it\'s"', "a\\", "ä b", "#"],
)
def test_a_quoted_text_comes_back(text):
    assert built(f"pictures({specs.quoted(text)})").path == text
    assert built(f"pictures(path={specs.quoted(text)})").path == text


def test_a_plain_path_is_not_quoted():
    assert specs.quoted("data/demo-2/test.v1") == "data/demo-2/test.v1"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("margin=0.3", {"margin": 0.3}),
        ("margin=1e-3", {"margin": 0.001}),
        ("margin=-1", {"margin": -1.0}),
        ("easy=True", {"easy": True}),
        ("easy=true", {"easy": True}),
        ("easy=false", {"easy": False}),
        ("margins=(1, 0.3)", {"margins": (1, 0.3)}),
        ("margins=()", {"margins": ()}),
        ("schedule={'a': [1, 2]}", {"schedule": {"a": [1, 2]}}),
        ("schedule=cosine", {"schedule": "cosine"}),
    ],
)
def test_values(argument, expected):
    assert built(f"margin({argument})", classes=10, dims=4) == Margin(10, 4, **expected)


def test_a_whole_number_for_a_float_is_a_float():
    assert type(built("margin(margin=2)", classes=10, dims=4).margin) is float


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("classes=10, margin=0.3x", "'margin' in 'SPEC' has to be of type float, not '0.3x'"),
        ("classes=10, margin=True", "'margin' in 'SPEC' has to be of type float, not True"),
        ("classes=10, margin=", "'margin' in 'SPEC' has to be of type float, not ''"),
        ("classes=1.0", "'classes' in 'SPEC' has to be of type int, not 1.0"),
        ("classes=True", "'classes' in 'SPEC' has to be of type int, not True"),
        ("classes=10, easy=1", "'easy' in 'SPEC' has to be of type bool, not 1"),
        ("classes=10, margins=[1, 2]", "'margins' in 'SPEC' has to be of type tuple, not [1, 2]"),
        ("classes=10, margins=1", "'margins' in 'SPEC' has to be of type tuple, not 1"),
    ],
)
def test_a_value_of_another_type_is_an_error(argument, said):
    spec = f"margin({argument})"
    with pytest.raises(InputError) as error:
        built(spec, dims=4)
    assert str(error.value) == said.replace("SPEC", spec)


def test_a_path_without_a_name_is_told_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"or your own as module:name; .* as in bare\(photos\)"):
        built("photos")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "nothing",
            "unknown name 'nothing' in 'nothing'; known: bare, margin, ns.v2:x, pictures, variadic",
        ),
        ("margin(scale=1)", f"unknown argument 'scale' in 'margin(scale=1)'; {TAKES}"),
        ("bare(1)", "'bare(1)' has too many arguments; bare takes none"),
        (
            "pictures(a, 1, b, c)",
            "'pictures(a, 1, b, c)' has too many arguments; pictures takes: path, image_size=112, ",
        ),
        ("pictures", "'pictures' lacks 'path'; pictures takes: path, image_size=112, group=''"),
        ("pictures(a, path=b)", "'pictures(a, path=b)' gives 'path' twice"),
        ("pictures(path=a, path=b)", "'pictures(path=a, path=b)' gives 'path' twice"),
        (
            "pictures(path=a, 64)",
            "'pictures(path=a, 64)': '64' has to come before the arguments with a name",
        ),
        ("variadic(1, 2)", "'variadic(1, 2)' has too many arguments; variadic takes: size=1"),
        (
            "variadic(others=1)",
            "unknown argument 'others' in 'variadic(others=1)'; variadic takes: size=1",
        ),
    ],
)
def test_what_the_entry_does_not_take_is_an_error_that_lists_what_it_takes(spec, said):
    with pytest.raises(InputError) as error:
        built(spec)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "spec", ["", "()", "1x", "a b", "bare)", "bare(", "bare() x", "bare[1]", "=x", "pictures(a]"]
)
def test_what_is_no_spec_is_an_error(spec):
    with pytest.raises(InputError, match="is not of the form name or name"):
        specs.parse(spec)


@pytest.mark.parametrize(
    "arguments", ["(", "a)(b", "[1, 2", "1]", "{", "'a", '"a', "it's", r"'a\'", "a)", "(a", "([)"]
)
def test_a_bracket_or_quote_without_its_partner_is_an_error(arguments):
    with pytest.raises(InputError, match="has a bracket or a quote without its partner"):
        specs.parse(f"pictures({arguments})")


@pytest.mark.parametrize("arguments", [",", ",a", "a,,b", "a, ,b", "a,,"])
def test_an_empty_argument_is_an_error(arguments):
    with pytest.raises(InputError, match="has an empty argument"):
        specs.parse(f"pictures({arguments})")


def test_given_arguments_reach_the_entry_that_declares_them():
    assert built("margin", classes=10, dims=4, seed=7) == Margin(10, 4)
    assert built("bare", classes=10) == Bare()


def test_given_arguments_are_not_the_users_to_set():
    with pytest.raises(
        InputError, match=r"unknown argument 'dims' in .*; margin takes: margin=0\.5"
    ):
        built("margin(dims=5)", classes=10, dims=4)
    # By place they are passed over: 0.3 is the margin.
    assert built("margin(0.3)", classes=10, dims=4) == Margin(10, 4, 0.3)


def test_bind_builds_nothing():
    def explode(size: int):
        raise AssertionError(size)

    assert specs.bind({"explode": explode}, "explode(3)", ()) == (explode, {"size": 3})
    assert specs.bind({"explode": explode}, "explode", ("size",)) == (explode, {})


def test_annotations_may_be_text():
    def typed(size: "int"):
        return size

    with pytest.raises(InputError, match="has to be of type int"):
        specs.build({"typed": typed}, "typed(x)")


class Base:
    def __init__(self, classes: int, *, smoothing: float = 0.0, seed: int | None = None):
        self.given = (classes, smoothing, seed)


class Variant(Base):
    def __init__(self, classes: int, margin: float = 0.5, **shared):
        super().__init__(classes, **shared)
        self.margin = margin


class Layer:
    """Stands for one of Keras's classes, which say by their module that they are."""

    __module__ = "keras.src.layers.layer"

    def __init__(self, dtype: str = "float32"):
        self.dtype = dtype


class OfKeras(Layer):
    def __init__(self, margin: float = 0.5, **layer):
        super().__init__(**layer)
        self.margin = margin


VARIANTS = {"variant": Variant, "of_keras": OfKeras}


def test_options_of_the_base_class_are_those_of_a_variant_that_passes_them_on():
    made = specs.build(VARIANTS, "variant(0.3, smoothing=1, seed=4)", classes=10)
    assert (made.margin, made.given) == (0.3, (10, 1.0, 4))
    takes = r"variant takes: margin=0\.5, smoothing=0\.0, seed=None"
    with pytest.raises(InputError, match=rf"unknown argument 'shared' in .*; {takes}"):
        specs.build(VARIANTS, "variant(shared=1)", classes=10)


def test_what_is_given_reaches_a_variant_by_its_base_class():
    made = specs.build(VARIANTS, "variant", classes=10, smoothing=0.5)
    assert made.given == (10, 0.5, None)


def test_options_of_keras_s_own_classes_are_not_for_specs():
    assert specs.build(VARIANTS, "of_keras(0.3)").margin == 0.3
    with pytest.raises(InputError, match=r"unknown argument 'dtype' .* takes: margin=0\.5$"):
        specs.build(VARIANTS, "of_keras(dtype=float16)")


@pytest.mark.parametrize(("written", "seed"), [("None", None), ("3", 3)])
def test_a_number_or_none(written, seed):
    made = specs.build(VARIANTS, f"variant(seed={written})", classes=10)
    assert made.given == (10, 0.0, seed)


def test_neither_a_number_nor_none_is_an_error():
    with pytest.raises(InputError, match=r"'seed' in .* has to be of type int, not 'x'"):
        specs.build(VARIANTS, "variant(seed=x)", classes=10)
