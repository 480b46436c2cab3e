"""Checks that two models take and give the same things, and says what both take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import LoadedModel


def common_inputs(dense: Sequence[InputSpec], pruned: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Return what both models take: each axis is fixed where one of them fixes it.

    Raises
    ------
    ModelError
        When the names, the types, the ranks or the fixed sizes differ.
    """
    others = {spec.name: spec for spec in pruned}
    if {spec.name for spec in dense} != set(others):
        raise ModelError(
            f"the models take different inputs: the dense one {_names(s.name for s in dense)}, "
            f"the pruned one {_names(others)}; compare a model with its own pruned copy"
        )
    return tuple(_common(spec, others[spec.name]) for spec in dense)


def _common(one: InputSpec, other: InputSpec) -> InputSpec:
    sizes = (one.shape, other.shape)
    fits = one.dtype == other.dtype
    if one.shape is None or other.shape is None:
        shape = one.shape or other.shape
    else:
        fits &= len(one.shape) == len(other.shape)
        pairs = list(zip(one.shape, other.shape, strict=False))
        fits &= all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
        shape = tuple(b if isinstance(b, int) else a for a, b in pairs)
    if not fits:
        raise ModelError(
            f"the models take different inputs: {one.name!r} of the dense one is {one.dtype} "
            f"{sizes[0]}, of the pruned one {other.dtype} {sizes[1]}; compare a model with its "
            "own pruned copy"
        )
    rows = [spec.rows for spec in (one, other) if spec.rows is not None]
    return InputSpec(one.name, one.dtype, shape, min(rows, default=None))


def check_outputs(models: tuple[LoadedModel, LoadedModel]) -> None:
    """Refuse models whose outputs have different names.

    Raises
    ------
    ModelError
        They have.
    """
    dense, pruned = ([output.name for output in m.proto.graph.output] for m in models)
    if set(dense) != set(pruned):
        raise ModelError(
            f"the models give different outputs: the dense one {_names(dense)}, the pruned one "
            f"{_names(pruned)}; compare a model with its own pruned copy"
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
