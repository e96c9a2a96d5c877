"""Backward-compatible training of embedding encoders in Keras 3 on TensorFlow.

>>> import bct_keras as bct
>>> sorted(name for name in bct.methods.METHODS if name.startswith("mix"))
['mixbct']

The public names are imported when they are first used: to import the package alone takes no time,
imports neither Keras nor TensorFlow, and sets nothing.
"""

import contextlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bct_keras import (
        adapters,
        augmentations,
        backbones,
        callbacks,
        encoders,
        heads,
        methods,
        metrics,
        optimizers,
        schedules,
    )
    from bct_keras.errors import InputError
    from bct_keras.evaluate.comparison import compare
    from bct_keras.methods.old_embeddings import OldEmbeddings
    from bct_keras.models import CompatibleModel

__version__ = "0.1.0"
__all__ = [
    "CompatibleModel",
    "InputError",
    "OldEmbeddings",
    "adapters",
    "augmentations",
    "backbones",
    "callbacks",
    "compare",
    "encoders",
    "heads",
    "methods",
    "metrics",
    "optimizers",
    "schedules",
]

# Each public name and the module that has it; None: it is a module of that name itself.
_PUBLIC = {
    "CompatibleModel": "bct_keras.models",
    "InputError": "bct_keras.errors",
    "OldEmbeddings": "bct_keras.methods.old_embeddings",
    "adapters": None,
    "augmentations": None,
    "backbones": None,
    "callbacks": None,
    "compare": "bct_keras.evaluate.comparison",
    "encoders": None,
    "heads": None,
    "methods": None,
    "metrics": None,
    "optimizers": None,
    "schedules": None,
}
_WITHOUT_KERAS = ("InputError", "metrics")


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'bct_keras' has no attribute '{name}'")
    if name not in _WITHOUT_KERAS:
        _check_backend(_backend_of_keras())
        _register()
    owner = _PUBLIC[name]
    module = owner or f"bct_keras.{name}"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise AttributeError(f"module 'bct_keras' has no attribute '{name}'") from None
    return getattr(found, name) if owner else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def _chosen_backend() -> str | None:
    """Returns the backend of Keras, in use or asked for; None where nobody chose."""
    if "keras" in sys.modules:
        return _backend_of_keras()
    return os.environ.get("KERAS_BACKEND") or None


def _backend_of_keras() -> str:
    """Returns the backend that Keras has, which it picks once, at its first import."""
    if "keras" not in sys.modules:
        _check_backend(_chosen_backend())  # another one may not be installed at all
    keras: Any = importlib.import_module("keras")
    return keras.config.backend()


def _check_backend(backend: str | None) -> None:
    """Raises where Keras runs on something else than TensorFlow."""
    if backend in (None, "tensorflow"):
        return
    from bct_keras.errors import InputError

    raise InputError(
        f"bct_keras needs Keras on TensorFlow, and the backend of Keras is {backend}.",
        "Set KERAS_BACKEND=tensorflow in the environment, before Keras is imported",
    )


def _register() -> None:
    """Lets Keras know all classes that a `.keras` file of ours may hold."""
    importlib.import_module("bct_keras.models")


def _is_command() -> bool:
    """Returns whether this process is one of our commands, `bct` or `python -m bct_keras.NAME`."""
    if os.path.basename(sys.argv[0]) == "bct":
        return True
    for option, name in itertools.pairwise(sys.orig_argv):
        if option == "-m":
            return name.partition(".")[0] == __name__
    return False


def _set_up_command() -> None:
    """Chooses the backend for a process of our own, where nobody chose one."""
    from bct_keras.errors import InputError

    try:
        _check_backend(_chosen_backend())
    except InputError as error:
        sys.exit(f"error: {error}")
    os.environ["KERAS_BACKEND"] = "tensorflow"


@contextlib.contextmanager
def no_standard_error() -> Iterator[None]:
    """Hides what libraries write to standard error past Python; what fails they raise."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _set_up_tensorflow() -> None:
    """Sets what TensorFlow reads from the environment, where the user has not."""
    # TensorFlow's own log tells of CPU instructions and missing GPUs; what matters it raises as
    # well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The allocator that TensorFlow has for GPUs, for CPUs too. glibc asks the system for every
    # large block anew: a page fault for each 4 KiB, 150,000 and half of the time in a step of a
    # sampled head over 500,000 classes. It may use all memory there is, where TensorFlow would stop
    # it at 64 GiB.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(memory >> 20))


class _FirstTensorFlow:
    """Waits for TensorFlow's first import, whoever does it: sets it up, and silences it.

    It writes of missing CUDA libraries before it has read its log level; who has set that level to
    0 or 1 wants to see it. It is not imported here:
    that takes seconds, and `prepare` and its processes do without it.
    """

    def find_spec(self, fullname, path, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        wants_all = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1")
        _set_up_tensorflow()
        spec = importlib.util.find_spec("tensorflow")
        if spec is None or spec.loader is None or wants_all:
            return spec
        execute = spec.loader.exec_module

        def execute_quietly(module) -> None:
            with no_standard_error():
                execute(module)

        spec.loader.exec_module = execute_quietly
        return spec


class _FirstKeras:
    """Waits for Keras's first import, and then lets it know our classes.

    `keras.saving.load_model` finds a class by the name it is registered under, and only where its
    module has been imported. Where Keras is imported by a module of ours there is nothing to do:
    the public names see to it.
    """

    def find_spec(self, fullname, path, target=None):
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module) -> None:
            execute(module)
            if not any(name.startswith("bct_keras.") for name in sys.modules):
                _check_backend(module.config.backend())
                _register()

        spec.loader.exec_module = execute_and_register
        return spec


if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _FirstTensorFlow())
if _is_command():
    _set_up_command()
else:
    _check_backend(_chosen_backend())
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _FirstKeras())
