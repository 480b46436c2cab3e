"""Memory for activations, taken again as soon as nobody refers to it.

Fresh pages cost several times what writing to them does: in a pass that shows every layer's input
the system spends more time on handing out memory than onnxruntime does on the network.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Pool:
    """Hands out arrays; an array's memory is free again when it and all its views are gone.

    Blocks are taken again by arrays of their size only. A new block is made after the free ones
    of other sizes were given up, so the pool never holds more than was once in use, and not the
    sizes of a part of the network that is done.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, list[Array]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array of any content that shares its memory with no array in use."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        block = self._free_block(size)
        if block is None:
            self._release()
            block = np.empty(size, np.uint8)
            self._blocks.setdefault(size, []).append(block)
        return block.view(dtype).reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks, in use or free."""
        return sum(size * len(blocks) for size, blocks in self._blocks.items())

    def _free_block(self, size: int) -> Array | None:
        blocks = self._blocks.get(size, [])
        return next((block for block, n in _references(blocks) if n <= FREE), None)

    def _release(self) -> None:
        """Give up all free blocks."""
        for size, blocks in list(self._blocks.items()):
            used = [block for block, n in _references(blocks) if n > FREE]
            if used:
                self._blocks[size] = used
            else:
                del self._blocks[size]


def _references(blocks: list[Array]) -> list[tuple[Array, int]]:
    """Return each block with the number of references to it, some of them this function's."""
    counts = [sys.getrefcount(block) for block in blocks]
    return list(zip(blocks, counts, strict=True))


FREE = _references([np.empty(1, np.uint8)])[0][1]
"""references to a block that only its list holds; versions of Python count differently"""
