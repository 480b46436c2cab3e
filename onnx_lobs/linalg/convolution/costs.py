"""Forecasts which of three ways makes a convolution's Gram fastest."""

from __future__ import annotations

import functools
import math

from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions, output_sizes, resolve
from onnx_lobs.linalg.convolution.offset_gram import ConvSums, is_supported, samples_at_once
from onnx_lobs.linalg.convolution.offset_products import make_plan
from onnx_lobs.linalg.convolution.pixel_gram import TOGETHER, PixelSums
from onnx_lobs.linalg.convolution.positions import grid_step, is_narrow, wants_grid

# Measured on one core of an EPYC with AVX-512; only the ratios matter.
UNFOLD_SECONDS = 0.9e-9  # per entry: windows copied
GRID_SECONDS = 1.5e-9  # the same for every so-manieth position
CHOOSE_SECONDS = 6e-9  # the same for chosen positions, which are far apart
SYRK_FLOPS = 9e10
THIN_FLOPS = ((32, 1.5e10), (256, 5e10))  # of SYRK, up to so many columns
NARROW_FLOPS = 1.2e10  # of many small products at once, which are no SYRK
GEMM_FLOPS = ((1, 2.5e10), (4, 1.8e10), (8, 3.5e10), (16, 6.5e10))  # up to so many channels
FILL_SECONDS = 3e-9  # per entry of the image: mean, centred copy, sum
BOX_SECONDS = 4e-9  # per entry of the boxes at the borders: copied from short rows
CALL_SECONDS = 1.2e-5  # per product
START_SECONDS = 5e-4  # whatever the size
PIXEL_FLOPS = 3e10  # of the pixels' Grams: SYRK, half of it copied to the other side
PIXEL_SECONDS = 2e-9  # per pixel: copied, mean, sum
PAIR_SECONDS = 3e-9  # per entry of them that is added up, with those of other samples
MOST_PAIRS = 1 << 22  # sums of them
MOST_LISTED = 1 << 20  # places that pairs of kernel positions meet, listed in a quarter of a second
MOST_PIXELS = 1 << 11  # of an image: the products of a channel with itself take 16 MiB at the most
# planning the sums by offsets takes the square of the kernel positions: a second for so many,
# minutes for the windows of a Fourier transform, for which there is nothing to gain
MOST_POSITIONS = 128

WholeSums = type[ConvSums] | type[PixelSums]


@functools.lru_cache(maxsize=4096)
def cheapest(
    shape: tuple[int, ...], geometry: Unfold, groups: int, n_observations: int | None = None
) -> WholeSums | None:
    """Return what is expected to make the Gram fastest; None: unfolding and multiplying.

    Parameters
    ----------
    shape
        Of the activation (samples, channels, *spatial).
    n_observations
        How many would be unfolded, where they are only a sample of the positions; None: all. The
        other ways take all of them.

    Notes
    -----
    Compares flops, bytes and calls at rates measured on one core; the passes over the Gram
    itself are alike in all. The plan that it makes is kept for :class:`ConvSums`.
    """
    unfolding = _seconds_unfolded(shape, geometry, groups, n_observations)
    offsets = _seconds_offsets(shape, geometry, groups)
    pixels = _seconds_pixels(shape, geometry, groups)
    if unfolding <= min(offsets, pixels):
        return None
    return ConvSums if offsets <= pixels else PixelSums


def _seconds_unfolded(
    shape: tuple[int, ...], geometry: Unfold, groups: int, n_observations: int | None
) -> float:
    every = n_positions(shape, geometry)
    # how many are copied, and how far apart they lie
    n = every if n_observations is None else min(n_observations, every)
    columns = shape[1] // groups * geometry.kernel_size
    each = UNFOLD_SECONDS if n == every else CHOOSE_SECONDS
    if n < every and wants_grid(groups, columns, n / every):
        outputs = output_sizes(shape[2:], resolve(geometry, shape[2:]))
        step = grid_step(outputs, n / every)
        n = shape[0] * math.prod(-(-size // s) for size, s in zip(outputs, step, strict=True))
        each = GRID_SECONDS
    # and how fast the product is that follows
    rate = next((rate for size, rate in THIN_FLOPS if columns <= size), SYRK_FLOPS)
    rate = NARROW_FLOPS if is_narrow(groups, columns) else rate
    return n * columns * groups * (each + columns / rate)


def _seconds_offsets(shape: tuple[int, ...], geometry: Unfold, groups: int) -> float:
    if not is_supported(geometry) or geometry.kernel_size > MOST_POSITIONS:
        return math.inf
    # products of the whole image, in as many calls as there are pieces and parts of the batch
    plan = make_plan(resolve(geometry, shape[2:]), shape[2:])
    inside = shape[1] // groups
    rate = next((rate for size, rate in GEMM_FLOPS if inside <= size), SYRK_FLOPS)
    calls = math.ceil(shape[0] / samples_at_once(shape, plan, 4)) * len(plan.pieces)
    flops = 2 * shape[0] * shape[1] * inside * plan.area
    # what is copied: the image, and the boxes at its borders
    fill = FILL_SECONDS * (1.5 if max(plan.step) > 1 else 1)
    seconds = flops / rate + math.prod(shape) * fill + calls * CALL_SECONDS + START_SECONDS
    return seconds + BOX_SECONDS * shape[0] * shape[1] * plan.boxes


def _seconds_pixels(shape: tuple[int, ...], geometry: Unfold, groups: int) -> float:
    samples, channels, *leading, last = shape
    # the image as two axes: the shorter one, the longer one, and the positions along that
    lengths = math.prod(leading), last
    kernel = math.prod(geometry.kernel[:-1]), geometry.kernel[-1]
    (short, _), (long, positions) = sorted(zip(lengths, kernel, strict=True))
    pixels = short * long
    if groups != channels or pixels > MOST_PIXELS:
        return math.inf
    if positions**2 * long > MOST_LISTED or channels * positions**2 * short**2 > MOST_PAIRS:
        return math.inf
    per_sample = pixels * (pixels / PIXEL_FLOPS + PIXEL_SECONDS)
    per_sample += positions * pixels * short * PAIR_SECONDS / TOGETHER
    return samples * channels * per_sample + START_SECONDS
