"""Puts functions of a model that multiply by weights into its graphs, where they can be pruned.

A function that is called several times brings its constants along each time; they are kept once,
so that the model does not grow by them and their layers stay tied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import inliner

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.graph.function_versions import match_versions
from onnx_lobs.graph.model import Model, first_output, subgraphs
from onnx_lobs.layers.find import iter_places
from onnx_lobs.layers.not_taken import function_operators
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.layers.refusal import Refusal, RefusalKind

LEAST_BYTES = 256  # of constants that are kept once
SHOWN = 3  # names in the note

Key = tuple[str, str]


@dataclass(frozen=True)
class Inlining:
    """Says which functions of a model were inlined, and why others were not.

    Attributes
    ----------
    functions
        Their domains and names.
    refused
        A reason by scope and first output of the node that calls one.
    """

    functions: tuple[Key, ...] = ()
    refused: Mapping[tuple[int, str], Refusal] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What a report says of it: nothing, or one sentence."""
        if not self.functions:
            return []
        names = ", ".join(repr(f"{domain}.{name}") for domain, name in self.functions[:SHOWN])
        more = len(self.functions) - SHOWN
        names += f" and {more} more" if more > 0 else ""
        what = "function was" if len(self.functions) == 1 else "functions were"
        return [f"{len(self.functions)} {what} inlined, to prune the weights inside: {names}"]


def inline_functions(loaded: LoadedModel) -> Inlining:
    """Inline the functions that multiply, and those that call them, in place.

    Raises
    ------
    ModelError
        When onnx cannot inline a function that is in the model's operator set.

    Notes
    -----
    A model without such functions is not changed. Cost: a copy of the model without its external
    data.
    """
    model = Model(loaded.proto, loaded.folder)
    wanted = {
        key: function
        for key, function in model.functions.items()
        if not function_operators(model, function).isdisjoint(OPERATORS)
    }
    if not wanted:
        return Inlining()
    troubles: dict[Key, str] = {}
    for key, function in wanted.items():
        trouble = match_versions(loaded.proto, function)
        if trouble is not None:
            troubles[key] = trouble
    taken = [key for key in wanted if key not in troubles]
    if taken:
        loaded.proto.CopyFrom(_inlined(loaded.proto, taken))
    return Inlining(tuple(taken), _refused(loaded, troubles))


def _inlined(proto: onnx.ModelProto, taken: Sequence[Key]) -> onnx.ModelProto:
    """Return a model in which functions are put where they are called."""
    draft = onnx.ModelProto()
    draft.CopyFrom(proto)
    # without the other functions, of which one in another operator set is an error to onnx
    functions = {(f.domain, f.name): f for f in proto.functions}
    del draft.functions[:]
    draft.functions.extend(functions[key] for key in taken)
    try:
        made = inliner.inline_selected_functions(draft, list(taken))
    except RuntimeError as error:
        raise ModelError(f"onnx cannot inline the model's functions: {error}") from error
    made.functions.extend(f for key, f in functions.items() if key not in taken)
    old = {name for graph in iter_graphs(proto) for name in _made(graph)}
    _keep_once(made.graph, old)
    return made


def _refused(loaded: LoadedModel, troubles: Mapping[Key, str]) -> dict[tuple[int, str], Refusal]:
    """Return why each call of a function that stays is no layer."""
    if not troubles:
        return {}
    return {
        (place.scope.index, first_output(place.node)): Refusal(
            RefusalKind.FUNCTION,
            f"a function of the model that cannot be inlined: {trouble}",
        )
        for place in iter_places(Model(loaded.proto, loaded.folder))
        if (trouble := troubles.get((place.node.domain, place.node.op_type))) is not None
    }


def _made(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.output


def _keep_once(graph: onnx.GraphProto, old: set[str]) -> None:
    """Make all readers of equal constants that are new in a graph read the first, in place."""
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        key = _key(node) if node.op_type == "Constant" and node.output[0] not in old else None
        if key is None or first.setdefault(key, node.output[0]) == node.output[0]:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
        else:
            same[node.output[0]] = first[key]
    if same:
        del graph.node[:]
        graph.node.extend(kept)
        _rename(graph, same)


def _key(node: onnx.NodeProto) -> str | None:
    """Return what tells a Constant node's tensor from others; None where it is small."""
    value = next((a.t for a in node.attribute if a.name == "value"), None)
    if value is None or value.ByteSize() < LEAST_BYTES:
        return None
    plain = onnx.TensorProto()
    plain.CopyFrom(value)
    plain.name = ""
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Let all nodes of a graph, and of those inside it, read other values."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for inner in subgraphs(node):
            _rename(inner, names)
