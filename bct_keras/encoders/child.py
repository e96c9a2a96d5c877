"""The program that runs one .tflite or .onnx file for isolated.py, in a process of its own that may
die of it.

python child.py DESCRIPTOR KIND PATH

It is started as a file, so that neither this package nor TensorFlow is imported. Both sides send
messages on the socket with that descriptor: the length of a header, the header as JSON, and the
numbers of the array that it describes. The first message is from here: what the file takes and
gives. Each one that comes has images, and the answer embeddings.
"""

import json
import os
import resource
import socket
import struct
import sys
import time

LENGTH = struct.Struct("<I")
LOAD_BYTES = 512 << 20  # beside what the file's own size explains
FILE_TIMES = 16  # weights are held as read, as unpacked, and as laid out for the kernels
THREAD_BYTES = 16 << 20
LOAD_SECONDS = 10  # of the processor


def send(channel, header, array=None):
    text = json.dumps(header).encode()
    channel.sendall(LENGTH.pack(len(text)) + text)
    if array is not None:
        channel.sendall(memoryview(array).cast("B"))


def receive(channel, count):
    content = bytearray(count)
    view = memoryview(content)
    while view:
        got = channel.recv_into(view)
        if not got:
            sys.exit()  # the process that asks is gone
        view = view[got:]
    return content


class TFLite:
    def __init__(self, path):
        from ai_edge_litert.interpreter import (
            Interpreter,
        )  # the device's own run time, not TensorFlow's

        self.interpreter = Interpreter(model_path=path)
        (self.input,) = self.interpreter.get_input_details()
        (self.output,) = self.interpreter.get_output_details()
        self.batch = 0

    def facts(self):
        scale, zero = self.input["quantization"]
        return {
            "input": self.input["shape_signature"].tolist(),
            "output": self.output["shape_signature"].tolist(),
            # Whole numbers as they are: no scale could be meant.
            "bytes": (
                self.input["dtype"].__name__ == "uint8" and (not scale or (scale, zero) == (1.0, 0))
            ),
        }

    def run(self, images):
        if len(images) != self.batch:
            self.interpreter.resize_tensor_input(self.input["index"], images.shape)
            self.interpreter.allocate_tensors()
            self.batch = len(images)
        self.interpreter.set_tensor(self.input["index"], stored(images, self.input))
        self.interpreter.invoke()
        return real(self.interpreter.get_tensor(self.output["index"]), self.output)


def stored(values, tensor):
    """Numbers as the tensor of a TFLite file holds them, which may be quantised."""
    import numpy as np

    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    # real = scale * (stored - zero)
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])


def real(values, tensor):
    scale, zero = tensor["quantization"]
    return scale * (values.astype("float32") - zero) if scale else values


ONNX_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


class Onnx:
    def __init__(self, path):
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (self.input,) = self.session.get_inputs()
        (self.output,) = self.session.get_outputs()
        if self.input.type not in ONNX_TYPES:
            raise ValueError(f"it takes {self.input.type} and not one of {', '.join(ONNX_TYPES)}")

    def facts(self):
        def sides(found):  # a free one has a name or none
            return [side if isinstance(side, int) else -1 for side in found.shape]

        properties = self.session.get_modelmeta().custom_metadata_map
        return {
            "input": sides(self.input),
            "output": sides(self.output),
            "bytes": ONNX_TYPES[self.input.type] == "uint8",
            "properties": {
                name: value
                for name, value in properties.items()
                if name.lower().startswith("image.")
            },
        }

    def run(self, images):
        (found,) = self.session.run(
            None, {self.input.name: images.astype(ONNX_TYPES[self.input.type])}
        )
        return found


KINDS = {"tflite": TFLite, "onnx": Onnx}


def limit(path):
    """Stops a file that takes far more memory or time to load than one of its size can need."""
    if not os.path.exists("/proc/self/statm"):
        return  # only Linux tells, and keeps, these limits
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    most = (
        taken
        + LOAD_BYTES
        + FILE_TIMES * os.path.getsize(path)
        + THREAD_BYTES * (os.cpu_count() or 1)
    )
    lower(resource.RLIMIT_AS, most)
    lower(resource.RLIMIT_CPU, int(time.process_time()) + 1 + LOAD_SECONDS)


def lift():
    """Lets batches take what the machine has, for as long as they need."""
    lower(resource.RLIMIT_AS, os.sysconf("SC_PHYS_PAGES") * resource.getpagesize())
    lower(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def lower(kind, most):
    _, hard = resource.getrlimit(kind)
    known = [each for each in (most, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min(known, default=resource.RLIM_INFINITY), hard))


def main():
    descriptor, kind, path = sys.argv[1:]
    channel = socket.socket(fileno=int(descriptor))
    try:
        import numpy as np

        __import__({"tflite": "ai_edge_litert.interpreter", "onnx": "onnxruntime"}[kind])
        limit(path)
        model = KINDS[kind](path)
        facts = model.facts()
    except Exception as error:  # the libraries' own have no base class but this
        send(channel, told(error))
        return
    send(channel, facts)
    loaded = False
    while True:
        (length,) = LENGTH.unpack(receive(channel, LENGTH.size))
        header = json.loads(receive(channel, length))
        count = int(np.prod(header["shape"])) * np.dtype(header["dtype"]).itemsize
        images = np.frombuffer(receive(channel, count), header["dtype"]).reshape(header["shape"])
        try:
            found = np.ascontiguousarray(model.run(images), np.float32)
        except Exception as error:
            send(channel, told(error))
            continue
        send(channel, {"shape": found.shape}, found)
        if not loaded:
            loaded = True
            lift()


def told(error):
    return {"error": f"{type(error).__name__}: {error}"[:2000]}


if __name__ == "__main__":
    main()
