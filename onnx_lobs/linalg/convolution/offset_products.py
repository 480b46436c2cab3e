"""Plans the products that make up the Gram of a convolution.

They are those of pairs of kernel positions, sorted by their difference. See
:mod:`onnx_lobs.linalg.convolution.offset_gram`, which computes them.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.linalg.convolution.geometry import Unfold

Span = tuple[int, int]
Box = tuple[Span, ...]
Key = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class KernelReads:
    """What one kernel position of one axis reads: [begin, end) of sub-image `phase`, unclipped.

    Positions of different `residue` never read at the same output.
    """

    phase: int
    residue: int
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class ProductPlan:
    """The products that make up a Gram, for one geometry and size of image.

    Parameters
    ----------
    spatial, step, sizes
        Size of the image, distance of a sub-image's pixels, and its padded size, per axis.
    kernel_positions
        Per axis, one entry per kernel position, in the order of the weight.
    pieces
        (key, box): the product of two sub-images, the second moved, over a box of the first;
        box () is all of it.
    blocks
        Each a sum of signed pieces, (sign, index of the piece).
    index
        (positions, positions) index into the blocks, then their transposes, then zero.
    """

    spatial: tuple[int, ...]
    step: tuple[int, ...]
    sizes: tuple[int, ...]
    kernel_positions: tuple[tuple[KernelReads, ...], ...]
    pieces: tuple[tuple[Key, Box], ...]
    blocks: tuple[tuple[tuple[int, int], ...], ...]
    index: NDArray[np.intp]

    @property
    def phases(self) -> list[tuple[int, ...]]:
        """The sub-images that are read."""
        return list(
            itertools.product(
                *(sorted({position.phase for position in row}) for row in self.kernel_positions)
            )
        )

    @property
    def area(self) -> float:
        """Pixels of one sample, over all products; of symmetric products, which cost half, half."""
        whole = math.prod(self.sizes)
        area = 0.0
        for (one, two, shift), box in self.pieces:
            symmetric = one == two and not any(shift)
            area += (math.prod(hi - lo for lo, hi in box) if box else whole) / (1 + symmetric)
        return area

    @property
    def boxes(self) -> int:
        """Pixels of one sample in all boxes."""
        return sum(math.prod(hi - lo for lo, hi in box) for _, box in self.pieces if box)


@functools.lru_cache(maxsize=256)
def make_plan(geometry: Unfold, spatial: tuple[int, ...]) -> ProductPlan:
    """Return the products for images of size `spatial`; `geometry` is resolved.

    Cost: quadratic in the number of kernel positions, once per size of image.
    """
    nd = len(spatial)
    kernel_positions = tuple(_axis_reads(geometry, axis, spatial[axis]) for axis in range(nd))
    lengths = list(map(lengths_of, spatial, geometry.strides))
    pieces: dict[tuple[Key, Box], int] = {}
    blocks: dict[tuple[tuple[int, int], ...], int] = {}
    places: list[tuple[int, int, int, bool]] = []
    kernel = list(itertools.product(*kernel_positions))
    # each pair of positions is a sum of products of sub-images, many of which are the same
    for (i, p), (j, q) in itertools.combinations_with_replacement(enumerate(kernel), 2):
        key, swapped = _key(p, q)
        first, second = (q, p) if swapped else (p, q)
        ranges = [
            ranges_of(a, b, lengths[axis])
            for axis, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        if any(own[0] >= own[1] for own, _ in ranges):
            continue
        block = tuple(
            (sign, pieces.setdefault((key, box), len(pieces))) for sign, box in _cover(ranges)
        )
        places.append((i, j, blocks.setdefault(block, len(blocks)), swapped))
    # where each pair finds its block: as it is, transposed, or nowhere (zero)
    index = np.full((len(kernel),) * 2, 2 * len(blocks))
    for i, j, block_index, swapped in places:
        index[i, j] = block_index + swapped * len(blocks)
        index[j, i] = block_index + (not swapped) * len(blocks)
    index.flags.writeable = False  # plans are shared
    # a gap of zeros behind every row, as wide as the farthest shift
    reach = [max(abs(a.begin - b.begin) for a in axis for b in axis) for axis in kernel_positions]
    sizes = tuple(max(length) + gap for length, gap in zip(lengths, reach, strict=True))
    return ProductPlan(
        spatial, geometry.strides, sizes, kernel_positions, tuple(pieces), tuple(blocks), index
    )


def lengths_of(size: int, stride: int) -> list[int]:
    """Return the length of every sub-image along an axis."""
    return [len(range(phase, size, stride)) for phase in range(stride)]


def _axis_reads(geometry: Unfold, axis: int, size: int) -> tuple[KernelReads, ...]:
    """Return what each kernel position of an axis reads."""
    nd = len(geometry.kernel)
    stride, up, pad = geometry.strides[axis], geometry.upsample[axis], geometry.pads[axis]
    padded = (size - 1) * up + 1 + pad + geometry.pads[nd + axis]
    out = (padded - geometry.extent[axis]) // stride + 1
    found = []
    for k in range(geometry.kernel[axis]):
        # with inserted zeros a position meets pixels at every up-th output only
        at = k * geometry.dilations[axis] - pad
        if up > 1:
            found.append(KernelReads(0, at % up, -(-at // up), -(-(at + out) // up)))
        else:
            found.append(KernelReads(at % stride, 0, at // stride, at // stride + out))
    return tuple(found[::-1] if geometry.flip else found)


def _key(p: tuple[KernelReads, ...], q: tuple[KernelReads, ...]) -> tuple[Key, bool]:
    """Return which sub-images two positions read, and how far apart; True: swapped."""
    one, two = tuple(position.phase for position in p), tuple(position.phase for position in q)
    shift = tuple(b.begin - a.begin for a, b in zip(p, q, strict=True))
    back = tuple(-s for s in shift)
    if (two, one, back) > (one, two, shift):
        return (two, one, back), True
    return (one, two, shift), False


def ranges_of(p: KernelReads, q: KernelReads, lengths: list[int]) -> tuple[Span, Span]:
    """Return where in p's sub-image both positions read pixels, and where its shift has any."""
    if p.residue != q.residue:
        return (0, 0), (0, 0)
    shift = q.begin - p.begin
    lo, hi = max(0, -shift), min(lengths[p.phase], lengths[q.phase] - shift)
    return (max(lo, p.begin), min(hi, p.end)), (lo, hi)


def _cover(ranges: list[tuple[Span, Span]]) -> Iterator[tuple[int, Box]]:
    """Yield signed boxes that add up to the box of the first ranges.

    Per axis the whole less what is left and right of the range, or the range itself where
    that is shorter.
    """
    axes = []
    for (begin, end), (lo, hi) in ranges:
        if end - begin < (hi - lo) / 2:
            axes.append([(1, (begin, end))])
        else:
            strips = [(-1, (lo, begin)), (-1, (end, hi))]
            axes.append([(1, (lo, hi)), *(strip for strip in strips if strip[1][0] < strip[1][1])])
    whole = tuple(span for _, span in ranges)
    for choice in itertools.product(*axes):
        box = tuple(span for _, span in choice)
        yield math.prod(sign for sign, _ in choice), () if box == whole else box
