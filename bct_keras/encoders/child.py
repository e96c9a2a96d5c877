"""Runs one .tflite or .onnx file for isolated.py, as a program of its own that may die of it.

python child.py DESCRIPTOR KIND PATH

It is started as a file, so that neither this package nor TensorFlow is imported. Both sides send
messages on the socket with that descriptor: the length of a header, the header as JSON, and the
numbers of the array that it describes. The first message is from here: what the file takes and
gives. Each one that comes has images, and the answer embeddings.
"""

import importlib
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
MOST_INTERPRETERS = 8  # each has a copy of the weights as the kernels want them


def send(channel, header, array=None):
    """Sends a message."""
    text = json.dumps(header).encode()
    length = LENGTH.pack(len(text))
    channel.sendall(length + text)
    if array is not None:
        channel.sendall(memoryview(array).cast("B"))


def receive(channel, count):
    """Returns the next bytes; ends this process where nobody is there to send them."""
    content = bytearray(count)
    view = memoryview(content)
    while view:
        got = channel.recv_into(view)
        if not got:
            sys.exit()  # the process that asks is gone
        view = view[got:]
    return content


class TFLite:
    """Runs a .tflite file in LiteRT, the device's own run time and not TensorFlow's."""

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        self.path = path
        self.interpreter = Interpreter(model_path=path)
        (self.input,) = self.interpreter.get_input_details()
        self.outputs = self.named_outputs()
        self.batch = 0
        self.fixed_batch = max(int(self.input["shape_signature"][0]), 0)
        self.others = []  # more interpreters of the same file

    def named_outputs(self):
        """Returns the output tensors by their names in the file's signature, where it has one."""
        details = self.interpreter.get_output_details()
        signatures = self.interpreter.get_signature_list()
        if len(details) == 1 or not signatures:
            return {str(place): each for place, each in enumerate(details)}
        runner = self.interpreter.get_signature_runner(next(iter(signatures)))
        return in_order(runner.get_output_details())

    def facts(self):
        """Returns what the file takes and gives."""
        scale, zero = self.input["quantization"]
        is_uint8 = self.input["dtype"].__name__ == "uint8"
        not_scaled = not scale or (scale, zero) == (1.0, 0)
        return {
            "input": self.input["shape_signature"].tolist(),
            "outputs": {
                name: output["shape_signature"].tolist() for name, output in self.outputs.items()
            },
            # Whole numbers as they are: no scale could be meant.
            "bytes": is_uint8 and not_scaled,
        }

    def run(self, images):
        """Returns the embeddings of a batch, an array for each output."""
        if not self.fixed_batch or len(images) == self.fixed_batch:
            return self.run_once(images)
        return self.run_in_threads(pieces_of(images, self.fixed_batch))

    def run_in_threads(self, pieces):
        """Runs batches of the file's own size, on each core with an interpreter of its own."""
        from concurrent.futures import ThreadPoolExecutor

        import numpy as np

        threads = min(cores(), len(pieces), MOST_INTERPRETERS)
        while len(self.others) < threads - 1:
            self.others.append(TFLite(self.path))
        interpreters = [self, *self.others][:threads]

        def run_every_nth(first):
            # The interpreter lets other threads run meanwhile.
            return [interpreters[first].run_once(piece) for piece in pieces[first::threads]]

        with ThreadPoolExecutor(threads) as pool:
            shares = list(pool.map(run_every_nth, range(threads)))
        in_turn = [shares[place % threads][place // threads] for place in range(len(pieces))]
        return [np.concatenate(parts) for parts in zip(*in_turn, strict=True)]

    def run_once(self, images):
        """Returns the embeddings of a batch that the interpreter takes whole."""
        if len(images) != self.batch:
            self.interpreter.resize_tensor_input(self.input["index"], images.shape)
            self.interpreter.allocate_tensors()
            self.batch = len(images)
        values = stored(images, self.input)
        self.interpreter.set_tensor(self.input["index"], values)
        self.interpreter.invoke()
        found = []
        for output in self.outputs.values():
            values = self.interpreter.get_tensor(output["index"])
            found.append(real(values, output))
        return found


def cores():
    """Returns how many cores this program may use; not every system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pieces_of(images, size):
    """Returns a batch in pieces of one size, of which it is a multiple."""
    return [images[first : first + size] for first in range(0, len(images), size)]


def in_order(outputs):
    """Returns outputs by their names, `embedding` before `embedding_compatible`."""
    return {name: outputs[name] for name in sorted(outputs)}


def stored(values, tensor):
    """Returns numbers as the tensor of a TFLite file holds them, which may be quantised."""
    import numpy as np

    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    # real = scale * (stored - zero)
    whole = np.rint(values / scale + zero)
    limits = np.iinfo(tensor["dtype"])
    return np.clip(whole, limits.min, limits.max).astype(tensor["dtype"])


def real(values, tensor):
    """Returns the numbers that are meant by what such a tensor holds."""
    scale, zero = tensor["quantization"]
    if not scale:
        return values
    return scale * (values.astype("float32") - zero)


ONNX_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


class Onnx:
    """Runs an .onnx file in onnxruntime."""

    def __init__(self, path):
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (self.input,) = self.session.get_inputs()
        self.outputs = in_order({output.name: output for output in self.session.get_outputs()})
        if self.input.type not in ONNX_TYPES:
            raise ValueError(f"it takes {self.input.type} and not one of {', '.join(ONNX_TYPES)}")

    def facts(self):
        """Returns what the file takes and gives, and what it states of its pixels."""
        properties = {}
        for name, value in self.session.get_modelmeta().custom_metadata_map.items():
            if name.lower().startswith("image."):
                properties[name] = value
        return {
            "input": sides_of(self.input),
            "outputs": {name: sides_of(output) for name, output in self.outputs.items()},
            "bytes": ONNX_TYPES[self.input.type] == "uint8",
            "properties": properties,
        }

    def run(self, images):
        """Returns the embeddings of a batch, an array for each output."""
        values = images.astype(ONNX_TYPES[self.input.type])
        return self.session.run(list(self.outputs), {self.input.name: values})


def sides_of(tensor):
    """Returns the sides of an ONNX tensor; -1 for a free one, which has a name or none."""
    return [side if isinstance(side, int) else -1 for side in tensor.shape]


KINDS = {"tflite": TFLite, "onnx": Onnx}
LIBRARIES = {"tflite": "ai_edge_litert.interpreter", "onnx": "onnxruntime"}


def limit(path):
    """Stops a file that takes far more memory or time to load than one of its size can need."""
    if not os.path.exists("/proc/self/statm"):
        return  # only Linux tells, and keeps, these limits
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    of_file = FILE_TIMES * os.path.getsize(path)
    of_threads = THREAD_BYTES * (os.cpu_count() or 1)
    lower(resource.RLIMIT_AS, taken + LOAD_BYTES + of_file + of_threads)
    seconds_so_far = int(time.process_time()) + 1
    lower(resource.RLIMIT_CPU, seconds_so_far + LOAD_SECONDS)


def lift():
    """Lets batches take what the machine has, for as long as they need."""
    memory = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()
    lower(resource.RLIMIT_AS, memory)
    lower(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def lower(kind, most):
    """Sets a limit of this process, as far as the hard one allows."""
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY:
        limit_now = most
    elif most == resource.RLIM_INFINITY:
        limit_now = hard
    else:
        limit_now = min(most, hard)
    resource.setrlimit(kind, (limit_now, hard))


def main():
    """Loads the file, and answers until nobody asks any more."""
    descriptor, kind, path = sys.argv[1:]
    channel = socket.socket(fileno=int(descriptor))
    try:
        import numpy as np

        importlib.import_module(LIBRARIES[kind])  # before the limit, which is for the file
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
        shape, dtype = header["shape"], np.dtype(header["dtype"])
        count = int(np.prod(shape)) * dtype.itemsize
        images = np.frombuffer(receive(channel, count), dtype).reshape(shape)
        try:
            outputs = model.run(images)
            found = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
            found = np.ascontiguousarray(found, np.float32)
        except Exception as error:
            send(channel, told(error))
            continue
        send(channel, {"shape": found.shape}, found)
        if not loaded:
            loaded = True
            lift()


def told(error):
    """Returns the header that tells of an error."""
    text = f"{type(error).__name__}: {error}"
    return {"error": text[:2000]}


if __name__ == "__main__":
    main()
