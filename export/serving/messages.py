"""Writes and reads the two messages of TF Serving that a client needs.

They are in protobuf's wire format. TF Serving's own package brings all of TensorFlow. And what is
read here comes from outside: a tensor must hold exactly the values that its shape claims, of a type
that is asked for, or it is refused.

PredictRequest: model_spec = 1, inputs = 2; PredictResponse: outputs = 1; an entry of either map:
key = 1, value = 2. ModelSpec: name = 1, signature_name = 3, version_label = 4. TensorProto: dtype =
1, tensor_shape = 2, tensor_content = 4, float_val = 5, string_val = 8, bool_val = 11.
TensorShapeProto: dim = 2, and in it size = 1.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from errors import ServingError

FLOAT, STRING, BOOL = 1, 7, 10
TYPES = {FLOAT: "float32", STRING: "string", BOOL: "bool"}
VARINT, EIGHT_BYTES, WITH_LENGTH, FOUR_BYTES = 0, 1, 2, 5
MAXIMUM_FIELDS = 20_000  # of a message: one for each image of a batch, and few others
MAXIMUM_RANK = 8
NOTHING = memoryview(b"")
Value = int | memoryview


def predict_request(
    model: str, label: str | None, signature: str, input_name: str, images: Sequence[bytes]
) -> bytes:
    """Returns a PredictRequest that shows these images to a model."""
    specification = field(1, model.encode())
    specification += field(3, signature.encode())
    if label:
        specification += field(4, label.encode())
    side = number(1, len(images))
    shape = field(2, side)
    tensor = [number(1, STRING), field(2, shape)]
    for image in images:
        tensor.append(field(8, image))
    entry = field(1, input_name.encode())
    entry += field(2, b"".join(tensor))
    return field(1, specification) + field(2, entry)


def outputs_of(response: bytes) -> dict[str, memoryview]:
    """Returns the outputs' tensors, not yet read, by their names."""
    found = {}
    for key, entry in fields(memoryview(response)):
        if key == 1:
            of_entry = dict(fields(with_length(entry)))
            name = with_length(of_entry.get(1, NOTHING))
            tensor = with_length(of_entry.get(2, NOTHING))
            found[text(name)] = tensor
    return found


def floats(tensor: memoryview) -> np.ndarray:
    """Returns a tensor of float32 as it is shaped."""
    shape, content = parts(tensor, FLOAT, values_at=5)
    whole = b"".join(content)
    if len(whole) % 4:
        raise ServingError("a tensor of the answer is cut off")
    values = np.frombuffer(whole, "<f4")
    check_count(shape, len(values))
    if not len(values):
        return np.empty((0, 0), np.float32)
    return values.reshape(shape)


def strings(tensor: memoryview) -> list[str]:
    """Returns the texts of a tensor."""
    shape, content = parts(tensor, STRING, values_at=8)
    check_count(shape, len(content))
    return [text(value) for value in content]


def booleans(tensor: memoryview) -> list[bool]:
    """Returns the truth values of a tensor."""
    # One byte for each, in tensor_content and in bool_val.
    shape, content = parts(tensor, BOOL, values_at=11)
    values = b"".join(content)
    check_count(shape, len(values))
    return [bool(value) for value in values]


def check_count(shape: list[int], count: int) -> None:
    """Raises unless a tensor holds as many values as its shape claims."""
    claimed = 1
    for side in shape[:MAXIMUM_RANK]:
        claimed *= side
    if claimed != count or len(shape) > MAXIMUM_RANK:
        raise ServingError(
            f"a tensor of the answer claims the shape {shape[:MAXIMUM_RANK]} and holds {count} "
            "values"
        )


def parts(
    tensor: memoryview, dtype: int, values_at: int
) -> tuple[list[int], list[memoryview | bytes]]:
    """Returns the shape of a tensor of this type, and its values in pieces as they lie there."""
    found = 0
    shape = []
    content = []
    for key, value in fields(tensor):
        if key == 1:
            found = value
        elif key == 2:
            shape = []
            for part, side in fields(with_length(value)):
                if part == 2:
                    shape.append(side_of(with_length(side)))
        elif key == 4 and dtype != STRING:
            content.append(with_length(value))
        elif key == values_at:
            # A single one of a repeated field may stand alone.
            content.append(bytes([min(value, 255)]) if isinstance(value, int) else value)
    if found != dtype:
        raise ServingError(
            f"a tensor of the answer has the type {found}, and not {dtype} ({TYPES[dtype]})"
        )
    return shape, content


def side_of(dimension: memoryview) -> int:
    size = dict(fields(dimension)).get(1, 0)
    if not isinstance(size, int) or size >= 1 << 63:
        raise ServingError("a tensor of the answer has a side of no or negative length")
    return size


def with_length(value: Value) -> memoryview:
    """Returns a value that has to be one with a length."""
    if isinstance(value, int):
        raise ServingError("the answer is no message of TF Serving")
    return value


def text(value: memoryview | bytes) -> str:
    """Returns a text of a message."""
    content = bytes(value)
    return content.decode("utf-8", "replace")


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yields the number and value of each field; raises for more of them than any answer has."""
    position = 0
    left = MAXIMUM_FIELDS
    while position < len(message):
        left -= 1
        if left < 0:
            raise ServingError("the answer is no message of TF Serving")
        key, position = read_varint(message, position)
        kind = key & 7
        if kind == VARINT:
            value, position = read_varint(message, position)
            yield key >> 3, value
            continue
        if kind == WITH_LENGTH:
            length, position = read_varint(message, position)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ServingError("the answer is no message of TF Serving")
        if length > len(message) - position:
            raise ServingError("the answer is cut off")
        yield key >> 3, message[position : position + length]
        position += length


def read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Returns a whole number, seven bits a byte and the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ServingError("the answer is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ServingError("the answer is no message of TF Serving")


def field(key: int, content: bytes) -> bytes:
    """Returns a field with a length."""
    head = varint(key << 3 | WITH_LENGTH)
    length = varint(len(content))
    return head + length + content


def number(key: int, value: int) -> bytes:
    """Returns a field that is a whole number."""
    head = varint(key << 3 | VARINT)
    return head + varint(value)


def varint(value: int) -> bytes:
    """Returns a whole number, seven bits a byte and the lowest first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
