"""Reads a Conv and a ConvTranspose as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from onnx_lobs.layers.bias import find_input_bias
from onnx_lobs.layers.layout import WeightLayout, conv_layout, transposed_conv_layout
from onnx_lobs.layers.misfit import conv_misfit
from onnx_lobs.layers.operand import constant_weight
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.refusal import Refusal
from onnx_lobs.linalg.convolution.geometry import Unfold, transposed_pads


def match_conv(place: NodePlace) -> Match | Refusal:
    """Return how a Conv multiplies by its weight, or why it is not taken."""
    return _match(place, _geometry, conv_layout)


def match_transposed_conv(place: NodePlace) -> Match | Refusal:
    """Return how a ConvTranspose multiplies by its weight, or why it is not taken."""
    return _match(place, _transposed_geometry, transposed_conv_layout)


def _match(
    place: NodePlace,
    geometry_of: Callable[[NodePlace, tuple[int, ...]], Unfold],
    layout_of: Callable[[tuple[int, ...], int], WeightLayout],
) -> Match | Refusal:
    root = constant_weight(place)
    if isinstance(root, Refusal):
        return root
    if misfit := conv_misfit(place.node, root.shape):
        return misfit
    groups = cast(int, place.attribute("group", 1))
    geometry = geometry_of(place, root.shape)
    layout = layout_of(root.shape, groups)
    bias = find_input_bias(place.model, place.scope, place.node, (groups * layout.rows,))
    use = replace(place.use(place.node.input[0], groups), unfold=geometry, bias=bias)
    return Match(use, root, layout)


def _geometry(place: NodePlace, shape: tuple[int, ...]) -> Unfold:
    kernel = shape[2:]
    ones = (1,) * len(kernel)
    pads, auto_pad = _pads(place, len(kernel))
    return Unfold(
        kernel=kernel,
        strides=place.integers("strides", ones),
        dilations=place.integers("dilations", ones),
        pads=pads,
        upsample=ones,
        auto_pad=auto_pad,
    )


def _transposed_geometry(place: NodePlace, shape: tuple[int, ...]) -> Unfold:
    kernel = shape[2:]
    ones = (1,) * len(kernel)
    dilations = place.integers("dilations", ones)
    output_padding = place.integers("output_padding", (0,) * len(kernel))
    pads, auto_pad = _pads(place, len(kernel))
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    begin, end = pads[: len(kernel)], pads[len(kernel) :]
    return Unfold(
        kernel=kernel,
        strides=ones,
        dilations=dilations,
        pads=transposed_pads(extent, begin, end, output_padding),
        upsample=place.integers("strides", ones),
        flip=True,
        auto_pad=auto_pad,
        output_padding=output_padding,
        output_shape=place.integers("output_shape", ())[-len(kernel) :],
    )


def _pads(place: NodePlace, n_axes: int) -> tuple[tuple[int, ...], str]:
    """Return the pads that a node names, and how they are made later where that is SAME."""
    auto_pad = cast(str, place.attribute("auto_pad", "NOTSET"))
    explicit = place.integers("pads", (0,) * (2 * n_axes))
    pads = explicit if auto_pad == "NOTSET" else (0,) * (2 * n_axes)
    return pads, auto_pad if auto_pad.startswith("SAME") else "NOTSET"
