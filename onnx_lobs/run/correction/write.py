"""Puts a correction into a model, in place, and takes it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.memory.store import Values
from onnx_lobs.run.correction.moments import Affine
from onnx_lobs.run.correction.sites import LayerSite, NormSite, Site


@dataclass(frozen=True)
class Written:
    """A correction of one site, and what the pruned execution copy had there before.

    ``numbers`` are the new tensors by name (weights, statistics; as the result stores them),
    ``change`` what a layer's bias gains, ``before`` the former tensors by name.
    """

    site: Site
    numbers: dict[str, Array]
    change: Array | None
    before: Mapping[str, Array]


def plan(site: Site, affine: Affine, pruned: Model, result: Model, former: Values) -> Written:
    """Return what must be written so that a site's value becomes ``gain * value + shift``.

    A normalisation, whose input cannot be changed, then gives what it gave for that. Neither
    model is modified; what they have now is kept in `former`.

    Raises
    ------
    SolverError
        When a weight does not fit its stored type.
    """
    if isinstance(site, NormSite):
        names = (site.mean, site.variance)
        former.add({name: _read(pruned, name) for name in names})
        mean, variance = (_read(result, name).astype(np.float64).ravel() for name in names)
        moved = (mean - affine.shift) / affine.gain
        spread = (variance + site.epsilon) / affine.gain**2 - site.epsilon
        spread = np.where(affine.gain == 1, variance, np.maximum(spread, 0))
        numbers = {
            name: new.reshape(_read(result, name).shape).astype(_read(result, name).dtype)
            for name, new in zip(names, (moved, spread), strict=True)
        }
        return Written(site, numbers, None, former)
    assert isinstance(site, LayerSite)
    bias = _read(pruned, site.slot.name)
    former.add({site.slot.name: bias})
    numbers = {}
    change = affine.shift
    if site.has_gain and (affine.gain != 1).any():
        present = bias.astype(np.float64).ravel() * site.slot.factor
        change = change + (affine.gain - 1) * present
        layer = site.layer
        stored = _read(result, layer.weight)
        former.add({layer.weight: stored})
        rows = affine.gain.reshape(layer.layout.groups, layer.layout.rows, 1)
        numbers[layer.weight] = round_weight(layer, layer.matrix(stored) * rows)
    return Written(site, numbers, change, former)


def write(model: Model, written: Written) -> None:
    """Write a correction into a model."""
    site = written.site
    if isinstance(site, LayerSite):
        for stored in written.numbers.values():
            write_weight(model, site.layer, stored)
        assert written.change is not None
        write_bias(model, site.use, site.layer, written.change)
        return
    for name, new in written.numbers.items():
        _put(model, name, new)


def undo(pruned: Model, written: Written) -> None:
    """Give the pruned copy its former tensors."""
    site = written.site
    for name, old in written.before.items():
        if isinstance(site, LayerSite) and name in written.numbers:
            write_weight(pruned, site.layer, old)
        else:
            _put(pruned, name, old)


def tensors(written: Written) -> Iterator[tuple[int, str]]:
    """Yield the tensors (scope, name) that a correction changes."""
    for name in written.before:
        yield 0, name


def _read(model: Model, name: str) -> Array:
    tensor = model.constant(model.main, name)
    assert tensor is not None
    return np.array(model.value(tensor))  # which may be a view of a file that changes


def _put(model: Model, name: str, values: Array) -> None:
    tensor = model.constant(model.main, name)
    assert tensor is not None
    write_tensor(tensor, values.astype(model.value(tensor).dtype, copy=False))
