"""Takes slices by a table of places along one axis: Gather, Resize to neighbours, Pad by copies."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.targets.c.program import CCode, Names, Step, Value

_KERNEL = Template(
    """static void ${name}(const $X *x, $X *y, int outer, int size, int count, int inner,
        const $P *places)
{
    for (; outer > 0; outer--, x += size * inner)
        for (int i = 0; i < count; i++)
            for (int k = 0; k < inner; k++)
                *y++ = x[places[i] * inner + k];
}
"""
)


@dataclass(frozen=True, eq=False)
class Take(Step):
    """y = x[..., places, ...] along one axis.

    Parameters
    ----------
    inputs, output
        The input's axis is replaced by one of as many places.
    axis
        Of the input.
    places
        (n,) indices from 0.
    """

    inputs: tuple[Value, ...]
    output: Value
    axis: int
    places: IntArray

    @property
    def multiplications(self) -> int:
        """None."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the elements."""
        return np.take(values[0], self.places, self.axis)

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the types of elements and places."""
        x = self.inputs[0]
        size = x.shape[self.axis]
        places = self.places.astype(np.min_scalar_type(size - 1))
        outer = int(np.prod(x.shape[: self.axis], dtype=np.int64))
        inner = int(np.prod(x.shape[self.axis + 1 :], dtype=np.int64))
        name = f"take{8 * places.itemsize}_{x.tag}"
        function = _KERNEL.substitute(name=name, X=x.c_type, P=f"{places.dtype.name}_t")
        arguments = [names.inputs[0], names.output, *map(str, (outer, size, places.size, inner))]
        call = f"{name}({', '.join([*arguments, names.table('places')])});"
        return CCode(call, (function,), {"places": places})
