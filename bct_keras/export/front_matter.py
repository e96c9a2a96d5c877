"""Writes the YAML on top of a model card, as the Hugging Face Hub reads it.

https://huggingface.co/docs/hub/model-cards: `model-index` has for each task and data set the
metrics with their values, which the Hub shows and compares.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TASK = {"type": "image-feature-extraction", "name": "Search in an old encoder's gallery"}
HIGHEST_OF_FOUR_DIGITS = 0xFFFF
MARKUP = "<>[]`|&*"  # where a reader knows no YAML, they would mean something in Markdown


def model_index(
    name: str, results: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> list[dict[str, Any]]:
    """Returns what the Hub calls a model index: the metrics of each data set.

    Args:
        name: Of the model.
        results: Of each protocol the metrics of each test, `query/gallery`.
    """
    found = []
    for spec, tests in results.items():
        metrics = []
        for test, values in tests.items():
            for metric, value in values.items():
                metrics.append({"type": metric, "name": f"{metric} of {test}", "value": value})
        data_set = {"type": spec.partition("(")[0], "name": spec}
        found.append({"task": TASK, "dataset": data_set, "metrics": metrics})
    return [{"name": name, "results": found}]


def front_matter(facts: Mapping[str, Any]) -> list[str]:
    """Returns the lines on top of a card, with the rules around them."""
    return ["---", *yaml_lines(facts), "---"]


def yaml_lines(value: Any, indent: int = 0) -> Iterator[str]:
    """Yields a mapping, or a list, as block YAML.

    Example:
        >>> list(yaml_lines({"tags": ["a"], "metrics": [{"type": "b", "value": 0.5}]}))
        ['tags:', '- "a"', 'metrics:', '- type: "b"', '  value: 0.5']
    """
    room = " " * indent
    if isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, Mapping):
                yield f"{room}{key}:"
                yield from yaml_lines(each, indent + 2)
            elif is_list(each) and not each:
                yield f"{room}{key}: []"
            elif is_list(each):
                yield f"{room}{key}:"
                yield from yaml_lines(each, indent)
            else:
                yield f"{room}{key}: {scalar(each)}"
    else:
        for each in value:
            if isinstance(each, Mapping):
                first, *others = yaml_lines(each, indent + 2)
                yield f"{room}- {first.strip()}"
                yield from others
            else:
                yield f"{room}- {scalar(each)}"


def is_list(value: Any) -> bool:
    """Tells whether a value is a list of values, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def scalar(value: str | float | bool) -> str:
    """Returns one value: a text in quotes, with all but plain letters escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return str(value)
    letters = []
    for letter in value:
        code = ord(letter)
        if letter in '"\\':
            letters.append(f"\\{letter}")
        elif " " <= letter <= "~" and letter not in MARKUP:
            letters.append(letter)
        elif 0xD800 <= code <= 0xDFFF:  # half a pair, which is no letter
            letters.append("\\uFFFD")
        elif code > HIGHEST_OF_FOUR_DIGITS:
            letters.append(f"\\U{code:08X}")
        else:
            letters.append(f"\\u{code:04X}")
    return f'"{"".join(letters)}"'


def number(value: float) -> str:
    """Returns a number that YAML reads as one: without a point 1e-05 would be a text.

    Example:
        >>> number(0.25), number(1e-05), number(float("nan"))
        ('0.25', '1.0e-05', '.nan')
    """
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(float(value))  # of a number of numpy too
    digits, exponent, power = text.partition("e")
    return f"{digits}.0{exponent}{power}" if exponent and "." not in digits else text
