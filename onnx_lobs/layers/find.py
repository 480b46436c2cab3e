"""Finds every layer of a model, and every node with weights that is none, with the reason."""

from __future__ import annotations

import fnmatch
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnx_lobs.errors import ConfigError, UnsupportedOpError
from onnx_lobs.graph.files.tensors import array_type
from onnx_lobs.graph.model import TAP_PREFIX, Model, Scope, first_output, is_float
from onnx_lobs.layers.fixed_transform import fixed_transform
from onnx_lobs.layers.held_weights import held_by, weight_positions
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.live import live_nodes
from onnx_lobs.layers.loops import in_loop
from onnx_lobs.layers.operators import OPERATORS, match
from onnx_lobs.layers.other_readers import other_readers
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

REMEDY_TIED = "--tied prune prunes it for all of them"
NO_REMEDY_TIED = "take it out of there to prune it"
DEAD = Refusal(RefusalKind.DEAD, "no output of the model depends on it: it can be removed")
Refused = Mapping[tuple[int, str], Refusal]
"""why nodes are skipped, by scope and first output"""
SQUARES_HELD = 7  # matrices of inputs x inputs at the peak of `joint`, measured 6.5


@dataclass(frozen=True)
class LayerFilter:
    """Which layers the user wants; see ``PruneConfig`` for the fields.

    Attributes
    ----------
    own
        Full names of layers with a sparsity of their own, which are taken unless excluded.
    free_bytes
        Memory that a layer may take; None: any.
    squares_held
        Matrices of inputs x inputs in float64 that a layer holds at the peak.
    prunes_tied
        Whether weights are taken that other nodes read too.
    transforms
        Whether fixed transforms of signals are taken as any other weight; then no value is read.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    op_types: tuple[str, ...] = tuple(OPERATORS)
    min_weights: int = 0
    depthwise: bool = False
    own: tuple[str, ...] = ()
    free_bytes: int | None = None
    squares_held: int = SQUARES_HELD
    prunes_tied: bool = False
    transforms: bool = False


def find_layers(
    model: Model,
    selection: LayerFilter | None = None,
    refused: Refused | None = None,
) -> tuple[tuple[Layer, ...], tuple[Skip, ...]]:
    """Return the layers in topological order of their first use, and the skipped nodes.

    Parameters
    ----------
    refused
        Why functions were not inlined, and weights that are computed from constants not folded, by
        scope and first output of their node: :attr:`onnx_lobs.layers.fold.Folding.refused`.

    Raises
    ------
    ConfigError
        When a pattern of `selection` matches no node or weight, or is no regular expression.
    UnsupportedOpError
        When a node that an include pattern names by its full name cannot be pruned.
    """
    selection = selection or LayerFilter()
    matches: dict[tuple[int, str], list[tuple[NodePlace, Match]]] = defaultdict(list)
    skips: list[Skip] = []
    tops: dict[int, int] = {}
    for place in iter_places(model):
        tops[id(place.node)] = place.top
        for number, found in enumerate(match(place)):
            outside = _seen(place, found) if isinstance(found, Match) else found
            if isinstance(outside, Match):
                matches[outside.root.scope, outside.root.name].append((place, outside))
            else:
                refusal = _known(place, outside, refused or {})
                held = held_by(place, weight_positions(place.node, number))
                skips.append(Skip(place.label, place.node.op_type, refusal, held))
    candidates: list[Layer] = []
    live = live_nodes(model)
    for group in matches.values():
        is_live, tied = _is_live(group, live), selection.prunes_tied
        layer = _join(model, group, tops, prunes_tied=tied) if is_live else DEAD
        if isinstance(layer, Layer):
            candidates.append(layer)
        else:
            held = (group[0][1].stored,)
            skips.extend(Skip(p.label, p.node.op_type, layer, held) for p, _ in group)
    return _select(model, candidates, skips, selection)


def _is_live(group: Sequence[tuple[NodePlace, Match]], live: frozenset[tuple[int, str]]) -> bool:
    """Return whether an output of the model depends on some node of a layer."""
    return any((place.scope.index, first_output(place.node)) in live for place, _ in group)


def _known(place: NodePlace, found: Refusal, refused: Refused) -> Refusal:
    """Return why a node was not prepared for pruning, where that is why it is skipped."""
    if found.kind is RefusalKind.RECURRENT:
        return found
    return refused.get((place.scope.index, first_output(place.node)), found)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test of a pattern: a shell glob, or a regular expression after ``re:``.

    A name that is equal to the glob matches, whatever it holds; and brackets may be meant as they
    stand, so that ``layers[*].fc`` matches ``layers[0].fc``.

    Raises
    ------
    ConfigError
        When the regular expression is not one.
    """
    if not pattern.startswith("re:"):
        literal = pattern.replace("[", "[[]")
        return lambda name: (
            name == pattern
            or fnmatch.fnmatchcase(name, pattern)
            or fnmatch.fnmatchcase(name, literal)
        )
    try:
        expression = re.compile(pattern[3:])
    except re.error as error:
        raise ConfigError(f"{pattern!r} is not a regular expression: {error}") from error
    return lambda name: expression.search(name) is not None


def iter_places(model: Model) -> Iterator[NodePlace]:
    """Yield every node of every scope, in the order in which the main graph runs them."""
    by_graph = {id(scope.graph): scope for scope in model.scopes}

    def walk(scope: Scope, top: int | None) -> Iterator[NodePlace]:
        for index, node in enumerate(scope.graph.node):
            if node.name.startswith(TAP_PREFIX):
                continue
            here = index if top is None else top
            yield NodePlace(model, scope, node, here)
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    inner = by_graph.get(id(graph))
                    if inner is not None:
                        yield from walk(inner, here)

    yield from walk(model.main, None)


def _seen(place: NodePlace, found: Match) -> Match | Refusal:
    """Return a node as it is read from outside of a loop, or why it is not taken."""
    trouble = _trouble(place, found)
    return in_loop(place, found) if trouble is None else trouble


def _trouble(place: NodePlace, found: Match) -> Refusal | None:
    """Return why a node that multiplies by a constant is still not taken."""
    dtype = array_type(found.root.tensor.data_type)
    if dtype is None or not is_float(dtype):
        kind = "of unknown type" if dtype is None else dtype.name
        reason = f"its weight is {kind}; only floating weights are pruned"
        return Refusal(RefusalKind.NOT_FLOATING, reason)
    if 0 in found.root.shape:
        return Refusal(RefusalKind.EMPTY, f"its weight is empty: {found.root.shape}")
    return None


def _join(
    model: Model,
    group: Sequence[tuple[NodePlace, Match]],
    tops: Mapping[int, int],
    *,
    prunes_tied: bool,
) -> Layer | Refusal:
    """Make one layer of all nodes that multiply by one stored weight, or say why not.

    `tops` holds the top-level node of every node, by its id.
    """
    place, first = group[0]
    alike = [(p, m) for p, m in group if _orients_alike(first, m)]
    if len(alike) < len(group) and not prunes_tied:
        reason = f"its weight is tied between nodes that orient it differently; {REMEDY_TIED}"
        return Refusal(RefusalKind.TIED, reason)
    home, nodes = model.scopes[first.root.scope], {id(p.node) for p, _ in alike}
    others = list(other_readers(model, home, first.root.name, nodes))
    for other in others:
        if other.node is None or not prunes_tied:
            remedy = NO_REMEDY_TIED if other.node is None else REMEDY_TIED
            reason = f"its weight is also read by {other.label}, which pruning would change"
            return Refusal(RefusalKind.READ_ELSEWHERE, f"{reason}; {remedy}")
    return Layer(
        name=_name(place.node.name, first.part) or first.root.name,
        op=place.node.op_type,
        scope=first.root.scope,
        weight=first.root.name,
        chain=first.root.chain,
        layout=first.layout,
        dtype=_dtype(first.root.tensor),
        uses=tuple(m.use for _, m in alike),
        other_tops=tuple(sorted({tops[id(other.node)] for other in others})),
    )


def _orients_alike(one: Match, other: Match) -> bool:
    """Whether two nodes make the same matrices of one stored weight."""
    if one is other:
        return True
    numbers = np.arange(math.prod(one.root.tensor.dims)).reshape(one.root.tensor.dims)
    first, second = (m.layout.to_matrix(m.root.chain.move(numbers)) for m in (one, other))
    return np.array_equal(first, second)


def _name(node: str, part: str) -> str:
    """Return a layer's name; "" where its node has none."""
    return f"{node}.{part}" if node and part else node


def _select(
    model: Model, layers: list[Layer], skips: list[Skip], selection: LayerFilter
) -> tuple[tuple[Layer, ...], tuple[Skip, ...]]:
    names = {name for layer in layers for name in layer.names} | {s.node for s in skips}
    include = [_checked(pattern, names) for pattern in selection.include]
    exclude = [_checked(pattern, names) for pattern in selection.exclude]
    for pattern in selection.include:
        for skip in skips:
            if skip.node == pattern:
                raise UnsupportedOpError(f"{pattern!r} was included by name, but: {skip.reason}")
    kept: list[Layer] = []
    for layer in layers:
        refusal = _refusal(layer, selection, include, exclude) or _too_wide(layer, selection)
        is_named = bool(include) or not set(selection.own).isdisjoint(layer.names)
        if refusal is None and not (is_named or selection.transforms):
            refusal = fixed_transform(model, layer)
        if refusal is None:
            kept.append(layer)
        else:
            skips.append(Skip(layer.name, layer.op, refusal, (layer.stored,)))
    return tuple(kept), tuple(skips)


def _checked(pattern: str, names: set[str]) -> Callable[[str], bool]:
    test = matcher(pattern)
    if not any(test(name) for name in names):
        some = ", ".join(sorted(names)[:5]) or "none"
        raise ConfigError(f"{pattern!r} matches no node and no weight; there are: {some} ...")
    return test


def _refusal(
    layer: Layer,
    selection: LayerFilter,
    include: Sequence[Callable[[str], bool]],
    exclude: Sequence[Callable[[str], bool]],
) -> Refusal | None:
    """Return why a layer is left dense by the options, or None."""
    if any(test(name) for test in exclude for name in layer.names):
        return Refusal(RefusalKind.EXCLUDED, "excluded by name")
    if not set(selection.own).isdisjoint(layer.names):
        return None
    if include:
        named = any(test(name) for test in include for name in layer.names)
        return None if named else Refusal(RefusalKind.NOT_INCLUDED, "not included by name")
    if layer.op not in selection.op_types:
        reason = f"{layer.op} is not among the operators asked for"
        return Refusal(RefusalKind.OPERATOR, reason)
    if layer.is_depthwise and not selection.depthwise:
        reason = "depthwise: left dense unless zeros are measured or it is included"
        return Refusal(RefusalKind.DEPTHWISE, reason)
    if layer.size < selection.min_weights:
        reason = f"{layer.size} weights, fewer than {selection.min_weights}"
        return Refusal(RefusalKind.SMALL, reason)
    return None


def _too_wide(layer: Layer, selection: LayerFilter) -> Refusal | None:
    """Return why the second moments of a layer's inputs cannot be held, or None."""
    groups, columns = layer.layout.groups, layer.layout.columns
    needed = selection.squares_held * 8 * groups * columns**2
    if selection.free_bytes is None or needed <= selection.free_bytes:
        return None
    return Refusal(
        RefusalKind.TOO_WIDE,
        f"its {groups * columns} inputs need {needed / 2**30:.1f} GiB of second moments, and "
        f"{selection.free_bytes / 2**30:.1f} GiB of memory may be used",
    )


def _dtype(tensor: onnx.TensorProto) -> np.dtype[Any]:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
