"""Says in plain words what the zeros of a model buy on the runtime that it was pruned for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.targets.mnn import block_channels

FEWER_CHANNELS = "channels that are removed make every runtime faster"
POINTWISE_LEAST = 2 / 3  # of the weights of 1x1 convolutions, from which XNNPACK skips zeros
# a ResNet-50 in MNN 3.6.1 with one thread on x86, over its own dense model
_MNN_SPARSITY = (0.65, 0.7, 0.8, 0.9, 0.95)
_MNN_SINGLE = (1.03, 1.18, 1.59, 2.54, 3.58)
_MNN_BLOCK_SPARSITY = (0.3, 0.7, 0.8, 0.9)
_MNN_BLOCKS = (1.0, 2.01, 2.55, 3.59)


@dataclass(frozen=True)
class PrunedFacts:
    """What a sentence may tell.

    Parameters
    ----------
    sparsity
        Zeros over all weights of the pruned layers.
    pattern
        Where they stand.
    file_bytes
        Before and after; None where nothing was written.
    activations
        ``fp32`` or ``int8``.
    pointwise
        Zeros over weights in 1x1 convolutions; None where there are none.
    fewer_channels
        Whether channels were removed before.
    """

    sparsity: float
    pattern: str
    file_bytes: tuple[int, int] | None
    activations: str
    pointwise: float | None
    fewer_channels: bool = False


def expectations(target: str, facts: PrunedFacts) -> tuple[str, ...]:
    """Return what to expect, in sentences."""
    first = [FEWER_CHANNELS] if facts.fewer_channels else []
    return (*first, *_SENTENCES[target](facts))


def _size(facts: PrunedFacts) -> str:
    """Return how many bytes smaller the file is."""
    if facts.file_bytes is None:
        return ""
    before, after = facts.file_bytes
    if before <= after:
        return "; the file is no smaller"
    return f"; the file is {before - after:,} bytes smaller ({after / before:.2g} of its size)"


def _onnxruntime(facts: PrunedFacts) -> list[str]:
    found = [
        f"onnxruntime multiplies zeros as other numbers: no faster on this runtime{_size(facts)}"
    ]
    return found + _faster(facts)


def _openvino(facts: PrunedFacts) -> list[str]:
    found = [
        f"OpenVINO multiplies zeros as other numbers: no faster on this runtime{_size(facts)}",
        "an exception is int8 in large Gemms with AMX, by CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE",
    ]
    return found + _faster(facts)


def _faster(facts: PrunedFacts) -> list[str]:
    if facts.activations == "int8":
        return ["its speed comes from int8, which a model with no zeros has too"]
    others = "" if facts.fewer_channels else ", or removing channels"
    return [f"what does make it faster: --values int8 --activations int8{others}"]


def _mnn(facts: PrunedFacts) -> list[str]:
    points: Sequence[float] = _MNN_SPARSITY
    gains: Sequence[float] = _MNN_SINGLE
    if (block_channels(facts.pattern) or 0) >= 4:
        points, gains = _MNN_BLOCK_SPARSITY, _MNN_BLOCKS
    gain = float(np.interp(facts.sparsity, points, gains))
    if gain < 1.05:
        return [f"no faster on MNN: {100 * facts.sparsity:.0f} % are too few zeros"]
    return [
        f"about {gain:.1f} times as fast on MNN as its own dense model, in float32: a ResNet-50 "
        "with as many zeros was, on x86",
        "the dense model is slower on MNN than on onnxruntime (96 against 55 ms there): compare",
    ]


def _xnnpack(facts: PrunedFacts) -> list[str]:
    found = ["1.2 to 2.4 times as fast, as its authors report; not measured here"]
    if facts.pointwise is None:
        return ["no faster on XNNPACK: the model has no 1x1 convolution, which it skips zeros in"]
    share = f"{100 * facts.pointwise:.0f} % of the weights of 1x1 convolutions are zero"
    if facts.pointwise <= POINTWISE_LEAST:
        return [f"no faster on XNNPACK: {share}, and it skips zeros from 67 % on"]
    found.append(f"{share}; on 64-bit Arm, blocks of 2x1 or 4x1 (--pattern) are faster than single")
    found.append(
        "XNNPACK wants tensors of the sparse type in the .tflite file, which onnx2tf does not write"
    )
    return found


def _tensorrt(facts: PrunedFacts) -> list[str]:
    return [
        "TensorRT may take sparse kernels for 2:4 on GPUs from Ampere on, in float16 and int8, "
        "where it finds them faster; not measured here"
    ]


def _c(facts: PrunedFacts) -> list[str]:
    return ["the C code holds no zeros and multiplies by none: flash and time fall with them"]


_SENTENCES: Mapping[str, Callable[[PrunedFacts], list[str]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "mnn": _mnn,
    "xnnpack": _xnnpack,
    "tensorrt": _tensorrt,
    "c": _c,
}
