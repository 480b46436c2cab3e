"""Counts what the multiplying layers of a network take in Arm's CMSIS-NN, for bench_deploy_c.py.

Each convolution, Gemm and pooling of a program becomes a call of CMSIS-NN's function of 8-bit
integers in the same sizes, with weights of -1, 0 and 1 and scales of one: the instructions do not
depend on values, and outputs can be checked to the last bit. All other steps, such as HardSwish,
are left out, so the sums are what CMSIS-NN takes at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_lobs.targets.c.program import Program, Step
from onnx_lobs.targets.c.steps.convolution import Convolution
from onnx_lobs.targets.c.steps.dense import Dense
from onnx_lobs.targets.c.steps.pool import Mean, Pool
from onnx_lobs.targets.c.steps.window import Window
from onnx_lobs.targets.c.text import array_text

_LARGEST = 3  # of inputs, so that few sums leave 8 bits
_HEADER = """#include <stdint.h>
void cmsis_run(const int8_t *input, int8_t *output);
"""
_SOURCE = """#include "arm_nnfunctions.h"
#include "cmsis.h"
static int8_t scratch[$scratch];
static int32_t ones[$most], halves[$most], zeros[$most];
$tables
void cmsis_run(const int8_t *input, int8_t *output)
{
    if (!ones[0])
        for (int i = 0; i < $most; i++)
            ones[i] = 1, halves[i] = 1 << 30; /* together a factor of one */
    cmsis_nn_context context = {scratch, sizeof scratch};
    const cmsis_nn_dims bias = {1, 1, 1, 1};
    const cmsis_nn_per_channel_quant_params rows = {halves, ones};
    const cmsis_nn_per_tensor_quant_params all = {1 << 30, 1};
    (void)rows, (void)all, (void)bias, (void)zeros;
$calls
}
"""


@dataclass(frozen=True, eq=False)
class Layer:
    """The call of one layer, its constants, its expected output, and their bytes in flash."""

    call: str
    weights: np.ndarray
    expected: np.ndarray
    flash: int


def write_cmsis(program: Program, folder: Path) -> tuple[int, int, int]:
    """Write cmsis.c, cmsis.h and cmsis_samples.h.

    Returns
    -------
    bytes of weights, biases and scales in flash; elements of the input; of all outputs together
    """
    rng = np.random.default_rng(0)
    size = max(step.inputs[0].size for step in program.steps)
    x = rng.integers(-_LARGEST, _LARGEST + 1, size).astype(np.int8)
    layers = [made for step in program.steps for made in [_layer(step, x, rng)] if made]
    tables, calls, at = [], [], 0
    for number, layer in enumerate(layers):
        if layer.weights.size:
            tables.append(array_text(f"static const int8_t weights_{number}", layer.weights))
        calls.append(layer.call.replace("WEIGHTS", f"weights_{number}").replace("AT", str(at)))
        at += layer.expected.size
    expected = np.concatenate([layer.expected.reshape(-1) for layer in layers])
    text = _SOURCE.replace("$scratch", "262144").replace("$most", "4096")
    text = text.replace("$tables", "\n".join(tables)).replace("$calls", "\n".join(calls))
    (folder / "cmsis.c").write_text(text)
    (folder / "cmsis.h").write_text(_HEADER)
    constant = "static const int8_t"
    samples = [array_text(f"{constant} samples_input_0", x), "#define N_SAMPLES 1"]
    samples += [array_text(f"{constant} expected_output_0", expected)]
    (folder / "cmsis_samples.h").write_text("\n".join(samples) + "\n")
    return sum(layer.flash for layer in layers), x.size, expected.size


def _layer(step: Step, x: np.ndarray, rng: np.random.Generator) -> Layer | None:
    if isinstance(step, Convolution) and not step.is_transposed:
        return _convolution(step, x, rng)
    if isinstance(step, Dense):
        return _dense(step, x, rng)
    if isinstance(step, Pool):
        return _pool(step.window, step.output.size // step.window.plane, step.is_mean, x)
    if isinstance(step, Mean):
        window = Window(1, step.length, 1, 1, 1, step.length)
        return _pool(window, step.output.size, True, x)
    return None


def _convolution(step: Convolution, x: np.ndarray, rng: np.random.Generator) -> Layer:
    """Return the call of a convolution; planes are last in memory, as CMSIS-NN has them."""
    s, n_rows = step.window, len(step.rows)
    channels = step.inputs[0].size // (s.height * s.width)
    inner = channels // step.groups
    weights = rng.integers(-1, 2, (n_rows, inner, s.positions)).astype(np.int8)
    planes = _nhwc(x, s.height, s.width, channels)
    seen = s.unfold(planes.astype(np.int64), 0).reshape(step.groups, inner * s.positions, s.plane)
    matrices = weights.astype(np.int64).reshape(step.groups, -1, inner * s.positions)
    expected = np.clip((matrices @ seen).reshape(n_rows, s.plane), -128, 127).T
    is_depthwise = step.groups == channels == n_rows
    stored = weights.reshape(n_rows, inner, s.kernel_height, s.kernel_width)
    stored = stored[:, 0].transpose(1, 2, 0) if is_depthwise else stored.transpose(0, 2, 3, 1)
    slides = f"{{{s.stride_x}, {s.stride_y}}}, {{{s.pad_x}, {s.pad_y}}}, {{{s.step_x}, {s.step_y}}}"
    kernel = f"{s.kernel_height}, {s.kernel_width}"
    kind = "depthwise_conv" if is_depthwise else "convolve"
    params = (
        f"const cmsis_nn_dw_conv_params p = {{0, 0, 1, {slides}, {{-128, 127}}}};"
        if is_depthwise
        else f"const cmsis_nn_conv_params p = {{0, 0, {slides}, {{-128, 127}}}};"
    )
    filters = f"{{1, {kernel}, {n_rows}}}" if is_depthwise else f"{{{n_rows}, {kernel}, {inner}}}"
    call = (
        f"    {{ {params} const cmsis_nn_dims i = {{1, {s.height}, {s.width}, {channels}}}, "
        f"f = {filters}, o = {{1, {s.out_height}, {s.out_width}, {n_rows}}};\n"
        f"    arm_{kind}_wrapper_s8(&context, &p, &rows, &i, input, &f, WEIGHTS, &bias, zeros, "
        "&o, output + AT); }"
    )
    return _made(call, stored, expected, n_rows)


def _dense(step: Dense, x: np.ndarray, rng: np.random.Generator) -> Layer:
    n_rows, columns = step.rows.shape
    vectors = step.output.size // n_rows
    weights = rng.integers(-1, 2, (n_rows, columns)).astype(np.int8)
    inputs = x[: vectors * columns].reshape(vectors, columns).astype(np.int64)
    expected = np.clip(inputs @ weights.T.astype(np.int64), -128, 127)
    call = (
        "    { const cmsis_nn_fc_params p = {0, 0, 0, {-128, 127}}; const cmsis_nn_dims "
        f"i = {{{vectors}, 1, 1, {columns}}}, f = {{{columns}, 1, 1, {n_rows}}}, "
        f"o = {{{vectors}, 1, 1, {n_rows}}};\n    arm_fully_connected_s8(&context, &p, &all, &i, "
        "input, &f, WEIGHTS, &bias, zeros, &o, output + AT); }"
    )
    return _made(call, weights, expected, n_rows)


def _pool(s: Window, channels: int, is_mean: bool, x: np.ndarray) -> Layer:
    planes = _nhwc(x, s.height, s.width, channels).astype(np.int64)
    if is_mean:
        sums = s.unfold(planes, 0).sum(axis=1)
        counts = s.unfold(np.ones_like(planes), 0).sum(axis=1)
        expected = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    else:
        expected = s.unfold(planes, -128).max(axis=1)
    slides = f"{{{s.stride_x}, {s.stride_y}}}, {{{s.pad_x}, {s.pad_y}}}"
    call = (
        f"    {{ const cmsis_nn_pool_params p = {{{slides}, {{-128, 127}}}}; const cmsis_nn_dims "
        f"i = {{1, {s.height}, {s.width}, {channels}}}, f = {{1, {s.kernel_height}, "
        f"{s.kernel_width}, 1}}, o = {{1, {s.out_height}, {s.out_width}, {channels}}};\n"
        f"    arm_{'avgpool' if is_mean else 'max_pool'}_s8(&context, &p, &i, input, &f, &o, "
        "output + AT); }"
    )
    return Layer(call, np.zeros(0, np.int8), expected.T.astype(np.int8), 0)


def _nhwc(x: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """Return the planes of an input whose channels are last in memory."""
    return x[: height * width * channels].reshape(height, width, channels).transpose(2, 0, 1)


def _made(call: str, weights: np.ndarray, expected: np.ndarray, n_rows: int) -> Layer:
    """Return a layer with a bias, a factor and a shift of four bytes for each output."""
    flash = weights.size + 12 * n_rows
    return Layer(call, weights.reshape(-1), expected.astype(np.int8), flash)
