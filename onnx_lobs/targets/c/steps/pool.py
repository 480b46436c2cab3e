"""Pools planes: the largest element or the mean under a window, and means over whole axes."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import Factors
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.finish import finish_tag, finished, integer_finish, one_factor
from onnx_lobs.targets.c.steps.window import STRUCT, Window
from onnx_lobs.targets.c.text import float_text

_POOL = Template(
    """static void ${name}(const $X *x, $X *y, const window *s, int planes)
{
    for (; planes > 0; planes--, x += s->height * s->width)
        for (int oy = 0; oy < s->out_height; oy++)
            for (int ox = 0; ox < s->out_width; ox++) {
                $A $START
                for (int ky = 0; ky < s->kernel_height; ky++) {
                    const int iy = oy * s->stride_y + ky * s->step_y - s->pad_y;
                    for (int kx = 0; kx < s->kernel_width; kx++) {
                        const int ix = ox * s->stride_x + kx * s->step_x - s->pad_x;
                        if (iy >= 0 && iy < s->height && ix >= 0 && ix < s->width) {
                            const $X v = x[iy * s->width + ix];
                            $EACH
                        }
                    }
                }
                *y++ = $END;
            }
}
"""
)
_MEAN = Template(
    """static void mean_${x}_$y(const $X *x, $Y *y, int n, int length, $FACTORS)
{
    for (; n > 0; n--) {
        $A sum = 0;
        for (int i = 0; i < length; i++)
            sum += *x++;
        *y++ = $RESULT;
    }
}
"""
)


@dataclass(frozen=True, eq=False)
class Pool(Step):
    """The largest element, or the rounded mean, of those under each window that are inside.

    Parameters
    ----------
    inputs, output
        (1, channels, [height,] width), on one grid.
    window
        Sizes.
    is_mean
        Whether means are taken.
    counts_pads
        Whether a mean counts what lies outside, as zeros.
    """

    inputs: tuple[Value, ...]
    output: Value
    window: Window
    is_mean: bool = False
    counts_pads: bool = False

    @property
    def multiplications(self) -> int:
        """None by weights."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return what lies under the windows, pooled."""
        s = self.window
        planes = values[0].reshape(-1, s.height, s.width)
        if not self.is_mean:
            return np.asarray(s.unfold(planes, -np.inf).max(axis=1), planes.dtype)
        inside = s.unfold(np.ones_like(planes[:1], np.int64), 0).sum(axis=1)
        counts = np.full_like(inside, s.positions) if self.counts_pads else np.maximum(inside, 1)
        if self.output.grid is None:
            seen = s.unfold(planes.astype(np.float32), 0.0)
            return np.asarray(seen.sum(axis=1) / counts, np.float32)
        sums = s.unfold(planes.astype(np.int64), 0).sum(axis=1)
        halves = np.where(sums >= 0, sums + counts // 2, -sums + counts // 2)
        return np.asarray(np.sign(sums) * (halves // counts), planes.dtype)

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the type and the kind of pooling."""
        x, is_float = self.inputs[0], self.output.grid is None
        acc = "float" if is_float else "int32_t"
        kind = "max" if not self.is_mean else ("mean_all" if self.counts_pads else "mean_inside")
        if not self.is_mean:
            lowest = "-INFINITY" if is_float else str(x.grid.lowest if x.grid else 0)
            start, each = f"sum = {lowest};", "if (v > sum) sum = v;"
            end = f"({x.c_type})sum"
        else:
            start, each = "sum = 0, count = 0;", "sum += v, count++;"
            if self.counts_pads:
                start, each = "sum = 0;", "sum += v;"
            count = "(s->kernel_height * s->kernel_width)" if self.counts_pads else "count"
            half = f"(sum >= 0 ? (sum + {count} / 2) / {count} : -((-sum + {count} / 2) / {count}))"
            end = f"sum / {count}" if is_float else f"({x.c_type}){half}"
        text = _POOL.substitute(
            name=f"{kind}_pool_{x.tag}", X=x.c_type, A=acc, START=start, EACH=each, END=end
        )
        planes = self.output.size // self.window.plane
        call = f"{kind}_pool_{x.tag}({names.inputs[0]}, {names.output}, "
        call += f"&{names.table('window')}, {planes});"
        return CCode(call, (STRUCT, text), windows={"window": self.window.initialiser()})


@dataclass(frozen=True, eq=False)
class Mean(Step):
    """The mean over the last `length` elements, scaled onto the output's grid.

    Parameters
    ----------
    inputs, output
        n * length elements, and n.
    length
        Elements of a mean.
    factors
        One, for a sum; None in float32.
    """

    inputs: tuple[Value, ...]
    output: Value
    length: int
    factors: Factors | None

    @property
    def multiplications(self) -> int:
        """None by weights."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the means."""
        rows = values[0].reshape(-1, self.length)
        if self.factors is None or self.output.grid is None:
            return np.asarray(rows.sum(axis=1) * np.float32(1 / self.length), np.float32)
        return self.factors.apply(rows.sum(axis=1, dtype=np.int64), self.output.grid)

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the types."""
        x, y, tag = self.inputs[0], self.output, finish_tag(self.factors)
        if self.factors is None:
            parameters, result = "float factor", "sum * factor"
            scale = float_text(1 / self.length)
            functions: tuple[str, ...] = ()
        else:
            parameters = "uint32_t factor, int shift"
            result = finished("sum", self.factors, y, "factor, shift")
            scale = one_factor(self.factors)
            functions = (integer_finish(y, self.factors),)
        text = _MEAN.substitute(
            x=x.tag,
            y=y.tag + tag,
            X=x.c_type,
            Y=y.c_type,
            A="float" if y.grid is None else "int32_t",
            FACTORS=parameters,
            RESULT=result,
        )
        sizes = [names.inputs[0], names.output, str(y.size), str(self.length)]
        call = f"mean_{x.tag}_{y.tag}{tag}({', '.join([*sizes, scale])});"
        return CCode(call, (*functions, text))
