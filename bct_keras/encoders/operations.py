"""Finds operations by which a SavedModel reaches out of itself.

They reach files, Python, the network or other devices. A graph is code: whoever loads it runs it,
functions for initialising and restoring included. So an operation may stand in it only if it is
without state and none of REACHING, or one of those with state that networks need. What saves and
restores the variables stands in every SavedModel: it may, where nothing leads to it from a
signature or an object.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from bct_keras.errors import InputError

# Without state by their registration, and yet they read, write, call or load something.
REACHING = re.compile(
    r"File|Reader|Dataset|Summary|Remote|Rpc|Vocab|Iterator|Tpu|TPU|^PyFunc|^Debug|^Xla(Custom|Launch)|^Snapshot"
    r"|^(En|De)codeProto|^CustomAggregator|^MergeV2|^Sharded|^Save|^Restore"
)
WITH_STATE = re.compile(
    r"(Var(Handle|IsInitialized)Op|Variable(V2|Shape)?|ReadVariableOp|Assign(Add|Sub)?VariableOp|TemporaryVariable"
    r"|ResourceGather(Nd)?|ResourceScatter\w+|DisableCopyOnRead|DestroyResourceOp|Empty|GuaranteeConst"
    r"|(Stateful)?PartitionedCall|(Stateless)?(If|While|Case)|Assert|CheckNumerics(V2)?|DeviceIndex"
    r"|StatelessRandomGetAlg|Stateful(StandardNormal|TruncatedNormal|Uniform)\w*|Random(Uniform(Int)?|StandardNormal"
    r"|Shuffle|Gamma|PoissonV2)|TruncatedNormal|ParameterizedTruncatedNormal|Multinomial|Rng(ReadAndSkip|Skip)"
    r"|(Anonymous)?(Mutable)?HashTable(OfTensors)?(V2)?|LookupTable(Find|Import|Insert|Size)V2|InitializeTableV2"
    r"|TensorArray\w*|CollectiveReduce(V2|V3)?|CrossReplicaSum|_?(Arg|Retval))"
)
# Data sets of what is in memory already, by which our own exports decode the images of a request
# one by one.
IN_MEMORY = re.compile(
    r"(Tensor|TensorSlice|Filter|Map|Concatenate|Take|ParallelInterleave|Batch|IgnoreErrors)Dataset(V\d)?"
    r"|DatasetToSingleElement"
)
SAVING = re.compile(
    r"(Save|Restore|MergeV2Checkpoints|Sharded|Save(V2|Slices)|Restore(V2|Slice)|ShardedFilename)"
)
STARTING_COLLECTIONS = ("saved_model_main_op", "legacy_init_op", "saved_model_initializers")


@dataclass
class Body:
    """A graph or a function: its operations, what each of them takes, and what it calls."""

    operations: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Any]) -> "Body":
        """Returns the body that these nodes make."""
        body = cls()
        for node in nodes:
            name = node.name
            body.operations[name] = node.op
            body.inputs[name] = [node_name(each) for each in node.input]
            body.calls[name] = [node.op, *functions_in(node.attr.values())]
        return body

    def leading_to(self, names: Iterable[str]) -> set[str]:
        """Returns the nodes that these are computed from, and themselves."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.operations and name not in found:
                found.add(name)
                waiting += self.inputs[name]
        return found


def node_name(tensor: str) -> str:
    """Returns the name of the node whose output this is, or which has to come before (^)."""
    name, _, _ = tensor.lstrip("^").partition(":")
    return name


def functions_in(attributes: Iterable[Any]) -> Iterator[str]:
    """Yields the functions that attributes name, and that those name in turn."""
    for value in attributes:
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                yield from functions_in(function.attr.values())


def check(path: Path, trusted: str) -> None:
    """Raises where the graph in saved_model.pb reaches out.

    Args:
        path: The file.
        trusted: How to load it all the same, which the error tells.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise InputError(f"{path.parent} cannot be loaded as a SavedModel: {error}") from None
    for meta_graph in model.meta_graphs:
        for name, operation in reaching(meta_graph):
            raise InputError(
                f"{path.parent} is refused: its graph has the operation {operation} ({name}), by "
                "which it could reach files, Python, the network or other devices.",
                f"If you trust who made it, give it as {trusted}",
            )


def reaching(meta_graph: Any) -> Iterator[tuple[str, str]]:
    """Yields the name and the kind of each operation that may not be there."""
    definition = meta_graph.graph_def
    graph = Body.of(definition.node)
    functions = {}
    for function in definition.library.function:
        functions[function.signature.name] = Body.of(function.node_def)
    used = functions_used(meta_graph, graph, functions)
    top = graph.leading_to(starting_nodes(meta_graph))
    for node, operation in graph.operations.items():
        if not allowed(operation, functions, node in top):
            yield node, operation
    for name, body in functions.items():
        for node, operation in body.operations.items():
            if not allowed(operation, functions, name in used):
                yield f"{name}/{node}", operation


def allowed(operation: str, functions: dict[str, Body], is_used: bool) -> bool:
    """Tells whether an operation may stand where it does; `is_used` is that it may be run."""
    if operation in functions:
        return True
    if SAVING.fullmatch(operation):
        return not is_used
    if IN_MEMORY.fullmatch(operation):
        return True
    known = op_def_registry.get(operation)
    if known is None:
        return False
    if known.is_stateful:
        return bool(WITH_STATE.fullmatch(operation))
    return not REACHING.search(operation)


def starting_nodes(meta_graph: Any) -> Iterator[str]:
    """Yields the nodes that are run when the graph is loaded or asked.

    Those that only save and restore are not among them.
    """
    for signature in meta_graph.signature_def.values():
        for tensor in signature.outputs.values():
            yield node_name(tensor.name)
    collections = meta_graph.collection_def
    for name in STARTING_COLLECTIONS:
        if name in collections:
            for node in collections[name].node_list.value:
                yield node_name(node)


def functions_used(meta_graph: Any, graph: Body, functions: dict[str, Body]) -> set[str]:
    """Returns the functions that signatures and objects lead to, however deep."""
    waiting = list(meta_graph.object_graph_def.concrete_functions)
    for node in graph.leading_to(starting_nodes(meta_graph)):
        waiting += graph.calls[node]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            for called in functions[name].calls.values():
                waiting += called
    return found
