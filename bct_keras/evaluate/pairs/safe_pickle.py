"""Reads pickles that hold plain values and nothing else.

A pickle is a program, so each of its steps has to be allowed by name.

This module is kept on purpose: InsightFace's pair sets (`lfw.bin` and its like) are pickles, and
Python's own reader runs whatever stands in one. A subclass of it may refuse names, but not the
memory and the steps that a file asks for.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bct_keras.errors import InputError
from bct_keras.untrusted.reading import read_bytes

# Lists, tuples, text, bytes, numbers, booleans, and the calls that `ALLOWED` lists.
STEPS = frozenset(
    """PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE
    GLOBAL STACK_GLOBAL REDUCE BUILD""".split()  # noqa: SIM905
)
STEP_OF_CODE = {step.code: step for step in pickletools.opcodes}
PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
BYTE_KINDS = ("u1", "b1")  # numpy's names of unsigned bytes and booleans


class ByteKind:
    """Stands for numpy.dtype."""

    def __init__(self, name: str | bytes, *_: Any):
        if isinstance(name, bytes):
            name = name.decode("ascii", "replace")
        if name not in BYTE_KINDS:
            raise pickle.UnpicklingError(f"numpy's {name!r} is not of bytes")

    def __setstate__(self, state: Any) -> None:
        pass  # byte order and alignment, which single bytes do not have


class ByteArray:
    """Stands for numpy.ndarray; numpy itself sees nothing of the file."""

    content: bytes | bytearray = b""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        _, _, kind, _, content = state
        self.content = bytes_of(content, kind)


def bytes_of(content: Any, kind: Any) -> bytes | bytearray:
    """Returns the content itself, where it is of bytes.

    A copy for each of many calls would take more memory than the file has.
    """
    if not isinstance(kind, ByteKind) or not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("an array that does not hold bytes")
    return content


def numpy_scalar(kind: Any, content: Any) -> bool:
    """Stands for numpy's function that makes a single number, here a boolean."""
    return bytes_of(content, kind) != b"\0"


def numpy_from_buffer(content: Any, kind: Any, *_: Any) -> bytes | bytearray:
    """Stands for numpy's function that makes an array of bytes."""
    return bytes_of(content, kind)


def latin1(text: Any = "", encoding: Any = "latin1") -> bytes:
    """Returns bytes that Python 3 wrote for Python 2.

    A number in the place of the text would ask for so much memory.
    """
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", b"latin1", b"latin-1"):
        raise pickle.UnpicklingError("bytes of an unknown form")
    return text.encode("latin-1")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): latin1,
    ("__builtin__", "bytes"): latin1,
    ("__builtin__", "bytearray"): latin1,
    ("builtins", "bytearray"): latin1,
    ("numpy", "dtype"): ByteKind,
    ("numpy", "ndarray"): ByteArray,
}
for package in ("numpy.core", "numpy._core"):
    ALLOWED[f"{package}.multiarray", "_reconstruct"] = ByteArray
    ALLOWED[f"{package}.multiarray", "scalar"] = numpy_scalar
    ALLOWED[f"{package}.numeric", "_frombuffer"] = numpy_from_buffer


class PlainUnpickler(pickle.Unpickler):
    """Runs the steps of a pickle, and calls only what `ALLOWED` lists."""

    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.bytes_left = len(content)

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Returns what stands for a class or function that the pickle names."""
        try:
            entry = ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which is not allowed"
            ) from None
        if entry is latin1:
            return self.counted_latin1
        return entry

    def counted_latin1(self, *arguments: Any) -> bytes:
        """Returns what `latin1` does, and counts its bytes.

        Each call makes a copy of a text, and a call takes but five bytes of a file.
        """
        made = latin1(*arguments)
        self.bytes_left -= len(made)
        if self.bytes_left < 0:
            raise pickle.UnpicklingError("it asks for more bytes than the file has")
        return made


def load(path: Path) -> Any:
    """Returns the value; strings of Python 2 are bytes, arrays are `ByteArray` or bytes."""
    content = read_bytes(path)
    check_steps(path, content)
    try:
        return PlainUnpickler(content).load()
    except Exception as error:  # a damaged program may fail in any way
        raise InputError(f"{path} was not loaded: {error or type(error).__name__}") from None


def check_steps(path: Path, content: bytes) -> None:
    """Checks the steps before anything is done.

    Every step is allowed, is whole, and asks for no more memory than the file has.
    """
    stream = io.BytesIO(content)
    count = 0
    try:
        while check_step(stream, count) != "STOP":
            count += 1
    except Exception as error:  # as above
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}, before byte {stream.tell()}: no pickle of images and booleans ({message})"
        ) from None


def check_step(stream: io.BytesIO, count: int) -> str:
    """Checks the next step, and returns its name.

    Args:
        stream: Stands before the step.
        count: How many steps there were before.
    """
    code = stream.read(1)
    step = STEP_OF_CODE.get(code.decode("latin-1"))
    if step is None:
        raise ValueError(f"{code!r} is no step of a pickle" if code else "cut off")
    if step.name not in STEPS:
        raise ValueError(f"the step {step.name} is not allowed")
    if step.name == "STRING":
        stream.readline()  # pickletools reads only ASCII here
    elif step.arg is not None:
        argument = step.arg.reader(stream)
        if step.name in PUTS and not 0 <= int(argument) <= count:
            raise ValueError(f"the step {step.name} asks for the place {argument}")
    return step.name
