"""Which operations of a SavedModel reach out of it: to files, Python, the network or other devices.

A graph is code: whoever loads it runs it, functions for initialising and restoring included. So an
operation may stand in it only if it is without state and none of REACHING, or one of those with
state that networks need. What saves and restores the variables stands in every SavedModel: it may,
where nothing leads to it from a signature or an object.
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
    """A graph or a function: its operations, and for each the names of what it takes and the
    functions it calls.
    """

    operations: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)

    def add(self, nodes: Iterable[Any]) -> "Body":
        for node in nodes:
            self.operations[node.name] = node.op
            self.inputs[node.name] = [each.lstrip("^").partition(":")[0] for each in node.input]
            self.calls[node.name] = [node.op, *functions_in(node.attr.values())]
        return self

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


def functions_in(attributes: Iterable[Any]) -> Iterator[str]:
    for value in attributes:
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                yield from functions_in(function.attr.values())


def check(path: Path, trusted: str) -> None:
    """Raises where the graph in saved_model.pb reaches out; `trusted` is how to load it all the
    same.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise InputError(f"{path.parent} cannot be loaded as a SavedModel: {error}") from None
    for meta_graph in model.meta_graphs:
        for name, operation in reaching(meta_graph):
            raise InputError(
                f"{path.parent} is refused: its graph has the operation {operation} ({name}), by"
                " which it could reach files, Python, the network or other devices.",
                f"If you trust who made it, give it as {trusted}",
            )


def reaching(meta_graph: Any) -> Iterator[tuple[str, str]]:
    """Yields the name and the kind of each operation that may not be there."""
    graph = Body().add(meta_graph.graph_def.node)
    functions = {
        each.signature.name: Body().add(each.node_def)
        for each in meta_graph.graph_def.library.function
    }
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
    if operation in functions:
        return True
    if SAVING.fullmatch(operation):
        return not is_used
    if IN_MEMORY.fullmatch(operation):
        return True
    known = op_def_registry.get(operation)
    if known is None:
        return False
    return (
        bool(WITH_STATE.fullmatch(operation))
        if known.is_stateful
        else not REACHING.search(operation)
    )


def starting_nodes(meta_graph: Any) -> Iterator[str]:
    """Yields the nodes of the graph that are run when it is loaded or asked: not those that save
    and restore.
    """
    for signature in meta_graph.signature_def.values():
        for tensor in signature.outputs.values():
            yield tensor.name.partition(":")[0]
    for name in STARTING_COLLECTIONS:
        for node in (
            meta_graph.collection_def[name].node_list.value
            if name in meta_graph.collection_def
            else ()
        ):
            yield node.lstrip("^").partition(":")[0]


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
            for calls in functions[name].calls.values():
                waiting += calls
    return found
