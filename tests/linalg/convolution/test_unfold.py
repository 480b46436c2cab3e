"""Every geometry of Conv and ConvTranspose, as one matrix product, against onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnxruntime
import pytest
from build_onnx import Array, normal, tensor
from onnx import TensorProto, helper

from onnx_lobs.layers.layout import conv_layout, transposed_conv_layout
from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions, transposed_pads
from onnx_lobs.linalg.convolution.unfold import unfold

SUMS = 2e-5  # of the largest output: float32 sums of up to 150 terms, in two orders
KERNEL, SIZE = (3, 2, 3), (7, 8, 6)
SAME = ("SAME_UPPER", "SAME_LOWER")


def run_node(op: str, x: Array, w: Array, **attributes: Any) -> Array:
    """Run one node in onnxruntime."""
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    x_info, y_info = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy")
    graph = helper.make_graph([node], "g", [x_info], [y_info], [tensor("w", w)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


def by_matrix(x: Array, w: Array, geometry: Unfold, groups: int) -> Array:
    """Return the convolution as unfold(x) @ matrix(w).T, in the form of the output."""
    layout = (transposed_conv_layout if geometry.flip else conv_layout)(w.shape, groups)
    columns = unfold(x, geometry, groups)
    assert columns.shape[1] == n_positions(x.shape, geometry)
    flat = columns @ layout.to_matrix(w).transpose(0, 2, 1)
    return np.asarray(flat.transpose(1, 0, 2).reshape(columns.shape[1], -1))


def check(op: str, x: Array, w: Array, geometry: Unfold, groups: int, **attributes: Any) -> None:
    reference = run_node(op, x, w, group=groups, **attributes)
    found = by_matrix(x, w, geometry, groups)
    expected = np.moveaxis(reference, 1, -1).reshape(-1, reference.shape[1])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= SUMS * np.abs(expected).max()


def conv_geometry(
    nd: int, stride: int, dilation: int, pads: tuple[int, ...], **more: Any
) -> Unfold:
    ones = (1,) * nd
    return Unfold(KERNEL[:nd], (stride,) * nd, (dilation,) * nd, pads, ones)


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_conv_is_a_matrix_product(
    nd: int, groups: int, stride: int, dilation: int, pad: int
) -> None:
    x, w = normal(1, 2, 4, *SIZE[:nd]), normal(2, 8, 4 // groups, *KERNEL[:nd])
    pads = (pad,) * nd + (2 * pad,) * nd
    geometry = conv_geometry(nd, stride, dilation, pads)
    attributes = {"strides": [stride] * nd, "dilations": [dilation] * nd, "pads": pads}
    check("Conv", x, w, geometry, groups, **attributes)


@pytest.mark.parametrize("stride", [7, 8, 9, 10, 1000, 2**40])
def test_strides_beyond_the_input_give_one_position(stride: int) -> None:
    x, w = normal(1, 2, 4, *SIZE[:2]), normal(2, 6, 4, *KERNEL[:2])
    geometry = conv_geometry(2, stride, 1, (1, 0, 1, 1))
    check("Conv", x, w, geometry, 1, strides=[stride] * 2, pads=[1, 0, 1, 1])


def test_steps_between_pixels_of_which_there_is_one_cost_nothing() -> None:
    x, w = normal(1, 2, 4, 1, 5), normal(2, 4, 3, *KERNEL[:2])
    huge, plain = (
        Unfold(KERNEL[:2], (1, 1), (1, 1), (2, 1, 2, 1), (up, 2), flip=True) for up in (2**40, 1)
    )
    assert np.array_equal(by_matrix(x, w, huge, 1), by_matrix(x, w, plain, 1))


@pytest.mark.parametrize("pads", [(-1, 0, 0, -2), (2, -1, -1, 3), (-2, -2, 0, 0)])
def test_negative_pads_crop(pads: tuple[int, ...]) -> None:
    """ONNX Runtime crashes on them in a Conv, so NumPy crops for it."""
    x, w = normal(1, 2, 4, 7, 8), normal(2, 6, 4, 3, 2)
    top, left, bottom, right = (max(-pad, 0) for pad in pads)
    cropped = x[:, :, top : 7 - bottom, left : 8 - right]
    reference = run_node("Conv", cropped, w, pads=[max(pad, 0) for pad in pads])
    found = by_matrix(x, w, conv_geometry(2, 1, 1, pads), 1)
    expected = np.moveaxis(reference, 1, -1).reshape(-1, 6)
    assert np.abs(found - expected).max() <= SUMS * np.abs(expected).max()


@pytest.mark.parametrize("auto_pad", SAME)
@pytest.mark.parametrize(
    ("kernel", "stride", "size"), list(itertools.product((1, 2, 3, 4), (1, 2, 3), (5, 6, 7)))
)
def test_conv_same_pads_as_onnxruntime_does(
    kernel: int, stride: int, size: int, auto_pad: str
) -> None:
    x, w = normal(1, 2, 2, size), normal(2, 3, 2, kernel)
    geometry = Unfold((kernel,), (stride,), (1,), (0, 0), (1,), auto_pad=auto_pad)
    assert n_positions(x.shape, geometry) == 2 * -(-size // stride)
    check("Conv", x, w, geometry, 1, strides=[stride], auto_pad=auto_pad)


@pytest.mark.parametrize("output_padding", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_transposed_conv_is_a_matrix_product(
    nd: int, groups: int, stride: int, dilation: int, output_padding: int
) -> None:
    output_padding = min(output_padding, stride - 1)  # onnxruntime refuses more
    x, w = normal(1, 2, 4, *(5, 4, 3)[:nd]), normal(2, 4, 8 // groups, *KERNEL[:nd])
    begin, end, extra = (1,) * nd, (0,) * nd, (output_padding,) * nd
    extent = tuple(dilation * (k - 1) + 1 for k in KERNEL[:nd])
    pads = transposed_pads(extent, begin, end, extra)
    ones = (1,) * nd
    geometry = Unfold(KERNEL[:nd], ones, (dilation,) * nd, pads, (stride,) * nd, flip=True)
    attributes = {
        "strides": [stride] * nd,
        "dilations": [dilation] * nd,
        "pads": [*begin, *end],
        "output_padding": extra,
    }
    check("ConvTranspose", x, w, geometry, groups, **attributes)


@pytest.mark.parametrize("auto_pad", SAME)
@pytest.mark.parametrize(
    ("kernel", "stride", "output_padding"),
    [(k, s, o) for k, s, o in itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1)) if o < s],
)
def test_transposed_conv_same_pads_as_onnxruntime_does(
    kernel: int, stride: int, output_padding: int, auto_pad: str
) -> None:
    """Also where the kernel is smaller than the stride, which makes the output smaller."""
    x, w = normal(1, 2, 2, 5), normal(2, 2, 3, kernel)
    extra = (output_padding,)
    geometry = Unfold((kernel,), (1,), (1,), (0, 0), (stride,), True, auto_pad, extra)
    attributes = {"strides": [stride], "auto_pad": auto_pad, "output_padding": extra}
    check("ConvTranspose", x, w, geometry, 1, **attributes)


@pytest.mark.parametrize("auto_pad", ["NOTSET", *SAME])
@pytest.mark.parametrize(
    ("kernel", "stride", "beyond"),
    [(k, s, b) for k, s, b in itertools.product((1, 3, 4), (1, 2, 3), (-3, -1, 0, 1)) if b < s],
)
def test_transposed_conv_gives_the_output_shape_asked_for(
    kernel: int, stride: int, beyond: int, auto_pad: str
) -> None:
    x, w = normal(1, 2, 2, 6), normal(2, 2, 3, kernel)
    wanted = 5 * stride + kernel + beyond
    geometry = Unfold((kernel,), (1,), (1,), (0, 0), (stride,), True, auto_pad, (0,), (wanted,))
    attributes = {"strides": [stride], "auto_pad": auto_pad, "output_shape": [wanted]}
    check("ConvTranspose", x, w, geometry, 1, **attributes)


@pytest.mark.parametrize("flip", [False, True])
def test_chosen_positions_are_rows_of_the_full_unfold(flip: bool) -> None:
    geometry = Unfold((3, 2), (2, 1), (1, 2), (1, 0, 1, 2), (1, 2) if flip else (1, 1), flip=flip)
    x = normal(1, 3, 4, 6, 7)
    full = unfold(x, geometry, 2)
    chosen = np.sort(np.random.default_rng(2).choice(full.shape[1], 17, replace=False))
    assert np.array_equal(unfold(x, geometry, 2, chosen), full[:, chosen])


def test_unfold_leaves_its_input_alone() -> None:
    x = normal(1, 2, 2, 5)
    before = x.copy()
    columns = unfold(x, conv_geometry(1, 1, 1, (0, 0)), 1)
    columns[...] = 0
    assert np.array_equal(x, before)
