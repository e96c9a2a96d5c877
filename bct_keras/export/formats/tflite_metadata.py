"""Writes the standard metadata of a .tflite file, which MediaPipe, ML Kit and Netron read.

It is a flatbuffer of its own, of TensorFlow Lite Support's metadata_schema.fbs. No package that is
kept up writes it, so the tables are built here by the numbers of their fields in that schema.
"""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LEAST_PARSER = "1.0.0"
FACTS_FILE = (
    "bct_keras.json"  # packed behind the model as a zip archive, which is the standard's way
)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # so that the same model is the same file
FEATURE_PROPERTIES, IMAGE_PROPERTIES = 1, 2  # in the union ContentProperties
NORMALIZATION_OPTIONS = 1  # in the union ProcessUnitOptions
RGB = 1
DESCRIPTIONS = 1  # of AssociatedFileType


class Tables:
    """Builds tables from the innermost to the outermost, as a flatbuffer wants them."""

    def __init__(self):
        self.builder = flatbuffers.Builder(1024)

    def text(self, text: str) -> Callable[[int], None]:
        """Returns what puts a text into a field."""
        return self.offset(self.builder.CreateString(text))

    def offset(self, place: int) -> Callable[[int], None]:
        """Returns what puts another table, or a vector, into a field."""
        return lambda field: self.builder.PrependUOffsetTRelativeSlot(field, place, 0)

    def byte(self, value: int) -> Callable[[int], None]:
        """Returns what puts a number of eight bits into a field."""
        return lambda field: self.builder.PrependInt8Slot(field, value, 0)

    def uint(self, value: int) -> Callable[[int], None]:
        """Returns what puts a number of 32 bits into a field."""
        return lambda field: self.builder.PrependUint32Slot(field, value, 0)

    def integer(self, value: int) -> Callable[[int], None]:
        """Returns what puts a number of 32 bits with a sign into a field."""
        return lambda field: self.builder.PrependInt32Slot(field, value, 0)

    def floats(self, values: Sequence[float]) -> Callable[[int], None]:
        """Returns what puts a vector of numbers into a field."""
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return self.offset(self.builder.EndVector())

    def tables(self, places: Sequence[int]) -> Callable[[int], None]:
        """Returns what puts a vector of tables into a field."""
        self.builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.builder.PrependUOffsetTRelative(place)
        return self.offset(self.builder.EndVector())

    def table(self, fields: dict[int, Callable[[int], None]]) -> int:
        """Writes a table of these fields by their numbers; returns where it is."""
        self.builder.StartObject(max(fields, default=-1) + 1)
        for number, put in fields.items():
            put(number)
        return self.builder.EndObject()


def metadata(facts: dict[str, Any], outputs: Sequence[str]) -> bytes:
    """Returns the metadata.

    Args:
        facts: What our own metadata say (`Source.facts`).
        outputs: The names of the outputs in the order in which the file has them.
    """
    tables = Tables()
    about_outputs = [output_table(tables, name, facts["outputs"][name]) for name in outputs]
    graph = tables.table(
        {
            0: tables.text("encoder"),
            2: tables.tables([input_table(tables, facts["input"]["size"])]),
            3: tables.tables(about_outputs),
        }
    )
    packed = tables.table(
        {
            0: tables.text(FACTS_FILE),
            1: tables.text("What bct_keras knows of this encoder, as JSON"),
            2: tables.byte(DESCRIPTIONS),
        }
    )
    model = tables.table(
        {
            0: tables.text(facts["encoder"]),
            1: tables.text(f"Embeds images; {facts['numbers']}. Written by bct_keras"),
            2: tables.text(facts["fingerprint"]),
            3: tables.tables([graph]),
            6: tables.tables([packed]),
            7: tables.text(LEAST_PARSER),
        }
    )
    tables.builder.Finish(model, IDENTIFIER)
    return bytes(tables.builder.Output())


def input_table(tables: Tables, size: int) -> int:
    """Returns the table of the image that the file takes: pixels of 0 to 255, as they are."""
    image_size = tables.table({0: tables.uint(size), 1: tables.uint(size)})
    properties = tables.table({0: tables.byte(RGB), 1: tables.offset(image_size)})
    value_range = tables.table({0: tables.integer(0), 1: tables.integer(255)})
    content = tables.table(
        {
            0: tables.byte(IMAGE_PROPERTIES),
            1: tables.offset(properties),
            2: tables.offset(value_range),
        }
    )
    options = tables.table({0: tables.floats([0.0]), 1: tables.floats([1.0])})
    normalization = tables.table({0: tables.byte(NORMALIZATION_OPTIONS), 1: tables.offset(options)})
    stats = tables.table({0: tables.floats([255.0]), 1: tables.floats([0.0])})
    return tables.table(
        {
            0: tables.text("image"),
            1: tables.text("An image in RGB, stretched to a square; normalised in the model"),
            3: tables.offset(content),
            4: tables.tables([normalization]),
            5: tables.offset(stats),
        }
    )


def output_table(tables: Tables, name: str, facts: dict[str, Any]) -> int:
    """Returns the table of one embedding."""
    feature = tables.table({})
    content = tables.table({0: tables.byte(FEATURE_PROPERTIES), 1: tables.offset(feature)})
    stats = tables.table({0: tables.floats([1.0]), 1: tables.floats([-1.0])})
    return tables.table(
        {
            0: tables.text(name),
            1: tables.text(f"{facts['dims']} coordinates of length 1, for {facts['for']}"),
            3: tables.offset(content),
            5: tables.offset(stats),
        }
    )


def with_facts_behind(model: bytes, facts: dict[str, Any]) -> bytes:
    """Returns the file with the facts packed behind it; a reader of models does not see them."""
    file = io.BytesIO(model)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(FACTS_FILE, LONG_AGO)
        archive.writestr(entry, json.dumps(facts, indent=1) + "\n")
    return file.getvalue()
