"""Holds the geometry of windows that slide over an input, and lays their gradients back on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.graph.derivatives.step import BackwardStep, NoDerivativeError

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class WindowGeometry:
    """Where the windows of a convolution or a pooling stand, along every spatial axis.

    Parameters
    ----------
    kernel, strides, dilations
        As ONNX has them.
    begin
        Zeros in front of the input.
    inputs, outputs
        Sizes of the input and the output. Zeros behind the input follow from these.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    begin: Sizes
    inputs: Sizes
    outputs: Sizes

    @property
    def extent(self) -> Sizes:
        """Length of the dilated kernel."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def end(self) -> Sizes:
        """How far the last window reaches beyond the input; negative where it ends before."""
        return tuple(
            (outputs - 1) * stride + extent - begin - inputs
            for outputs, stride, extent, begin, inputs in zip(
                self.outputs, self.strides, self.extent, self.begin, self.inputs, strict=True
            )
        )

    def reads(self, axis: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Return the places (outputs, kernel) that windows read along an axis; some are outside."""
        start = np.arange(self.outputs[axis]) * self.strides[axis] - self.begin[axis]
        return start[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]


def window_geometry(step: BackwardStep, kernel: Sizes) -> WindowGeometry:
    """Return the geometry of a Conv or a pooling, its padding resolved by the observed sizes."""
    inputs, outputs = step.shape()[2:], step.out_shape()[2:]
    ones = (1,) * len(kernel)
    strides = tuple(step.attribute("strides") or ones)
    dilations = tuple(step.attribute("dilations") or ones)
    auto = step.attribute("auto_pad", "NOTSET")
    pads = step.attribute("pads") or (0,) * 2 * len(kernel)
    begin = tuple(pads[: len(kernel)]) if auto == "NOTSET" else (0,) * len(kernel)
    if min(pads) < 0:
        raise NoDerivativeError(f"its pads {list(pads)} crop the input")
    if auto.startswith("SAME"):
        # ONNX: the padding that makes these outputs, the odd zero behind (UPPER) or in front
        totals = [
            max((o - 1) * s + d * (k - 1) + 1 - i, 0)
            for i, o, s, d, k in zip(inputs, outputs, strides, dilations, kernel, strict=True)
        ]
        begin = tuple(t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in totals)
    return WindowGeometry(kernel, strides, dilations, begin, inputs, outputs)


def laid_back(
    step: BackwardStep, gradient: str, weight: str, geometry: WindowGeometry, groups: int = 1
) -> str:
    """Append the transposed convolution that adds up windows where they were read.

    What no window reached, which a stride with a remainder leaves at the end, gets zeros.
    """
    end = geometry.end
    return step.op(
        "ConvTranspose", gradient, weight,
        group=groups, kernel_shape=list(geometry.kernel), strides=list(geometry.strides),
        dilations=list(geometry.dilations), pads=[*geometry.begin, *(max(e, 0) for e in end)],
        output_padding=[max(-e, 0) for e in end],
    )  # fmt: skip
