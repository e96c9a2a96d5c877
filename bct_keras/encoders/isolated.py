"""Encoders in .tflite and .onnx files, each run in a process of its own.

A file of others may kill the process that runs it. That process (child.py) reads and runs the file,
and this one asks it over a socket. If it dies, hangs, or takes far more memory than such a file can
need, that is an InputError here and nothing else is lost. It is no wall against code in a file: it
runs as the same user.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras.data.preprocessing import OWN, Preprocessing, chosen
from bct_keras.encoders import child, stated
from bct_keras.encoders.encoder import FileEncoder, first_sentence
from bct_keras.encoders.shapes import check_answer, checked_shapes, in_batches
from bct_keras.errors import InputError

LOAD_SECONDS = 60.0  # by the clock, on a busy machine; child.py has less of the processor
BATCH_SECONDS = 60.0
SLOWER_THAN_FIRST = 100.0  # how much longer than the first image any other may take
LONGEST_HEADER = 1 << 16
LARGEST_MESSAGE = 64 << 20  # bytes of several such batches
LARGEST_BATCH = 512 << 20  # bytes of a batch whose size is fixed by the file
NAMES = {"tflite": "a TFLite", "onnx": "an ONNX"}


class Child:
    """The process that runs one file.

    It ends with the last reference to this, or with this process.
    """

    def __init__(self, kind: str, path: Path):
        self.path = path
        self.kind = kind
        self.lock = threading.Lock()  # a question and its answer belong together
        self.channel, theirs = socket.socketpair()
        search_path = os.pathsep.join(each for each in sys.path if each)
        # An arena for each thread takes 64 MiB of address space, which is limited.
        environment = os.environ | {
            "PYTHONPATH": search_path,
            "MALLOC_ARENA_MAX": "2",
            "OPENBLAS_NUM_THREADS": "1",
        }
        # -P: beside child.py lie modules that may have the name of a library.
        program = [sys.executable, "-P", child.__file__]
        with theirs:
            self.process = subprocess.Popen(
                [*program, str(theirs.fileno()), kind, str(path.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                # A terminal's Ctrl-C is for this process alone, which then ends the other.
                process_group=0,
            )
        weakref.finalize(self, stop, self.process, self.channel, os.getpid())
        self.facts = self.loaded(self.receive_header)

    def loaded(self, step: Any) -> Any:
        """Runs a step of loading within the time for it."""
        self.channel.settimeout(LOAD_SECONDS)
        try:
            return step()
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.path} cannot be loaded as {NAMES[self.kind]} encoder: {self.cause(error)}"
            ) from None

    def run(self, images: np.ndarray, asked: tuple[int, int], seconds: float) -> np.ndarray:
        """Returns [batch, dims] float32."""
        with self.lock:
            self.channel.settimeout(seconds)
            header = {"shape": images.shape, "dtype": images.dtype.name}
            child.send(self.channel, header, np.ascontiguousarray(images))
            answer = self.receive_header()
            shape = tuple(answer["shape"])
            check_answer(self.path, shape, asked)  # before so much memory is taken as it says
            found = np.empty(shape, np.float32)
            self.receive(found.data.cast("B"))
            return found

    def receive_header(self) -> dict[str, Any]:
        """Returns the header of the next message; raises for an error that the process tells."""
        length = bytearray(child.LENGTH.size)
        self.receive(memoryview(length))
        (count,) = child.LENGTH.unpack(length)
        if count > LONGEST_HEADER:
            raise ValueError("its process sends what it should not")
        text = bytearray(count)
        self.receive(memoryview(text))
        header = json.loads(text)
        if "error" in header:
            kind, _, text = str(header["error"]).partition(": ")
            raise RuntimeError(text or kind)
        return header

    def receive(self, view: memoryview) -> None:
        """Fills the view with what comes."""
        while view:
            got = self.channel.recv_into(view)
            if not got:
                raise ConnectionResetError
            view = view[got:]

    def cause(self, error: Exception) -> str:
        """Returns what ended the conversation: a signal, the time, or an error that was told."""
        if isinstance(error, TimeoutError):
            self.process.kill()
            return "it takes too long; it hangs, or the machine is far too busy"
        if not isinstance(error, OSError):
            return first_sentence(error)
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "its process stopped answering"
        if status == -signal.SIGXCPU:
            return f"it takes more than {child.LOAD_SECONDS} s of the processor to load"
        if status < 0:
            return (
                f"the process that runs it died of {signal_name(-status)}; the file is damaged, "
                "made to do so, or needs more memory"
            )
        return f"the process that runs it ended with status {status}"


def signal_name(number: int) -> str:
    """Returns what a signal is called."""
    if number in set(signal.Signals):
        return signal.Signals(number).name
    return f"signal {number}"


def stop(process: subprocess.Popen, channel: socket.socket, owner: int) -> None:
    """Ends the process, unless this is a fork of the one that has started it."""
    channel.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


class IsolatedEncoder(FileEncoder):
    """Embeds by a file that is run in a process of its own."""

    # Whether the process takes several of the batches of one size that a file is made for at once.
    divides_batches = False

    def __init__(self, path: Path, given: dict[str, Any]):
        self.child = Child(self.kind, path)
        facts = self.child.facts
        shapes = checked_shapes(path, facts["input"], facts["outputs"])
        self.colours_first = shapes.colours_first
        found = self.stated(path, facts)
        if facts["bytes"] and not found.source:
            found = OWN
        super().__init__(
            path,
            image_size=shapes.image_size,
            dims=shapes.dims,
            preprocessing=chosen(given, found, str(path)),
            compatible_dims=shapes.compatible_dims,
        )
        if facts["bytes"] and self.preprocessing.scales:
            raise InputError(f"{path} takes pixels as whole numbers: leave out mean and std")
        self.fixed_batch = max(int(facts["input"][0]), 0)
        if self.fixed_batch * shapes.image_size**2 * 12 > LARGEST_BATCH:
            raise InputError(
                f"{path} takes {self.fixed_batch:,} images of {shapes.image_size} pixels at once, "
                "too many to hold"
            )
        self.first_seconds = 0.0
        start = time.perf_counter()
        self.child.loaded(self.run_first_image)
        self.first_seconds = time.perf_counter() - start

    def run_first_image(self) -> None:
        """Runs the file once, as part of loading: what cannot run is told now."""
        blank = np.zeros((1, self.image_size, self.image_size, 3), np.uint8)
        values = self.preprocessing.apply(blank)
        self.run_at_once(values, LOAD_SECONDS)

    def stated(self, path: Path, facts: dict[str, Any]) -> Preprocessing:
        """Returns the preprocessing that the file states itself."""
        raise NotImplementedError

    def run(self, values: np.ndarray) -> np.ndarray:
        """Returns the embeddings [batch, dims] float32 of what the file takes."""
        seconds_an_image = SLOWER_THAN_FIRST * self.first_seconds
        seconds = BATCH_SECONDS + seconds_an_image * len(values)
        try:
            return self.run_at_once(values, seconds)
        except (OSError, ValueError, RuntimeError) as error:
            cause = self.child.cause(error)
            raise InputError(
                f"{self.path} cannot embed {len(values)} images of {self.image_size} pixels: "
                f"{cause}"
            ) from None

    def run_at_once(self, values: np.ndarray, seconds: float) -> np.ndarray:
        """Runs the file, batch by batch where it takes batches of one size."""
        if self.colours_first:
            values = values.transpose(0, 3, 1, 2)

        def run_some(some: np.ndarray) -> np.ndarray:
            return self.child.run(some, (len(some), self.dims), seconds)

        size = self.fixed_batch
        if size and self.divides_batches:
            size *= max(1, LARGEST_MESSAGE // (values[0].nbytes * size))
            size = min(size, -(-len(values) // self.fixed_batch) * self.fixed_batch)
        return in_batches(run_some, values, size)


class TFLiteEncoder(IsolatedEncoder):
    """Embeds by a .tflite file."""

    kind = "tflite"
    divides_batches = True

    def stated(self, path: Path, facts: dict[str, Any]) -> Preprocessing:
        """Returns what the file's metadata state."""
        return stated.of_tflite(path)


class OnnxEncoder(IsolatedEncoder):
    """Embeds by an .onnx file, which needs onnxruntime: the extra `onnx`."""

    kind = "onnx"

    def __init__(self, path: Path, given: dict[str, Any]):
        if importlib.util.find_spec("onnxruntime") is None:
            raise InputError(f"{path} needs onnxruntime: pip install -e '.[onnx]'")
        super().__init__(path, given)

    def stated(self, path: Path, facts: dict[str, Any]) -> Preprocessing:
        """Returns what the file's properties state."""
        properties = facts["properties"]
        return stated.of_onnx(properties)
