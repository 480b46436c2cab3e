"""Convolves planes with sparse kernels: every weight adds a shifted plane to the sums.

No weight costs an index per product: one weight is one scaled addition of a plane, whose borders
are worked out once. Conv, ConvTranspose, MatMul with the weight on the left and normalisations with
constants are such steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.codes import Code
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.finish import Finish
from onnx_lobs.targets.c.steps.window import STRUCT, Window

_KERNEL = Template(
    """static void ${name}(const $X *x, $Y *y, $A *sums, const window *s, int rows,
        int group_rows, int group_channels, const $A *bias, $CODE, $FINISH)
{
    const int plane = s->out_height * s->out_width, area = s->height * s->width;
    const int positions = s->kernel_height * s->kernel_width;
    const int columns = group_channels * positions;
    (void)columns;
    for (int r = 0; r < rows; r++) {
        const $X *group = x + (r / group_rows) * group_channels * area;
        for (int i = 0; i < plane; i++)
            sums[i] = bias[r];
        $LOOP
        for (int i = 0; i < plane; i++) {
            const $A sum = sums[i];
            *y++ = $RESULT;
        }
    }
}
"""
)
_BODY = """if (w != 0) {
                const int at = pos % positions;
                $ADD(group + (pos / positions) * area, sums, s,
                    at / s->kernel_width, at % s->kernel_width, w);
            }"""
_RANGE = """static int first_inside(int offset, int stride)
{
    return offset >= 0 ? 0 : (stride - 1 - offset) / stride;
}

static int end_inside(int offset, int stride, int size, int most)
{
    const int end = offset < size ? (size - 1 - offset) / stride + 1 : 0;
    return end < most ? end : most;
}
"""
_ADD = Template(
    """static void add_$tag(const $X *x, $A *sums, const window *s, int ky, int kx, $A w)
{
    const int top = ky * s->step_y - s->pad_y, left = kx * s->step_x - s->pad_x;
    const int x0 = first_inside(left, s->stride_x);
    const int n = end_inside(left, s->stride_x, s->width, s->out_width) - x0;
    const int y1 = end_inside(top, s->stride_y, s->height, s->out_height);
    for (int oy = first_inside(top, s->stride_y); oy < y1 && n > 0; oy++) {
        const $X *from = x + (oy * s->stride_y + top) * s->width + x0 * s->stride_x + left;
        $A *to = sums + oy * s->out_width + x0;
        int left_over = n;
        if (s->stride_x == 1)
            for (; left_over >= 4; left_over -= 4, from += 4, to += 4) {
                to[0] += w * from[0];
                to[1] += w * from[1];
                to[2] += w * from[2];
                to[3] += w * from[3];
            }
        for (; left_over > 0; left_over--, from += s->stride_x)
            *to++ += w * *from;
    }
}
"""
)
_SPREAD = Template(
    """static void spread_$tag(const $X *x, $A *sums, const window *s, int ky, int kx, $A w)
{
    const int top = ky * s->step_y - s->pad_y, left = kx * s->step_x - s->pad_x;
    const int x0 = first_inside(left, s->stride_x);
    const int x1 = end_inside(left, s->stride_x, s->out_width, s->width);
    const int y1 = end_inside(top, s->stride_y, s->out_height, s->height);
    for (int iy = first_inside(top, s->stride_y); iy < y1; iy++) {
        const $X *from = x + iy * s->width;
        $A *to = sums + (iy * s->stride_y + top) * s->out_width + left;
        for (int ix = x0; ix < x1; ix++)
            to[ix * s->stride_x] += w * from[ix];
    }
}
"""
)


@dataclass(frozen=True, eq=False)
class Convolution(Step):
    """y = finish(rows * x + bias), plane by plane.

    Parameters
    ----------
    inputs, output
        (1, channels, [height,] width).
    window
        Sizes; of a transposed convolution those of the planes that it reads and makes.
    rows
        (out_channels, channels / groups * positions), int8 or float32.
    bias
        (out_channels,) int32 in steps of the sums, or float32.
    groups
        Of channels that do not meet.
    finish, stored
        How sums end, and the rows as they are stored.
    is_transposed
        Whether inputs are spread over windows of the output.
    """

    inputs: tuple[Value, ...]
    output: Value
    window: Window
    rows: Array
    bias: Array
    groups: int
    finish: Finish
    stored: Code
    is_transposed: bool = False

    @property
    def multiplications(self) -> int:
        """Multiplications by weights that are not zero, as if no window reached the border."""
        s = self.window
        places = s.height * s.width if self.is_transposed else s.plane
        return places * int(np.count_nonzero(self.rows))

    def compute(self, *values: Array) -> Array:
        """Return the sums of whole numbers exactly; float32 in NumPy's own order."""
        s, exact = self.window, np.float32 if self.output.grid is None else np.float64
        planes = values[0].reshape(-1, s.height, s.width).astype(exact)
        grouped = planes.reshape(self.groups, -1, s.height * s.width)
        rows = self.rows.astype(exact).reshape(self.groups, -1, self.rows.shape[1])
        if self.is_transposed:
            sums = self._spread(grouped, rows)
        else:
            seen = s.unfold(planes, 0.0).reshape(self.groups, -1, s.plane)
            sums = (rows @ seen).reshape(-1, s.plane)
        if self.output.grid is not None:
            sums = np.rint(sums).astype(np.int64)
        return self.finish.apply(sums + self.bias[:, None], self.output)

    def _spread(self, planes: Array, rows: Array) -> Array:
        """Return the sums of a transposed convolution, (out_channels, plane)."""
        s = self.window
        weights = rows.reshape(
            *rows.shape[:2], -1, s.positions
        )  # groups, rows, channels, positions
        reach_y = s.pad_y + max(s.out_height, s.height * s.stride_y + s.kernel_height * s.step_y)
        reach_x = s.pad_x + max(s.out_width, s.width * s.stride_x + s.kernel_width * s.step_x)
        sums = np.zeros((self.groups, rows.shape[1], reach_y, reach_x), planes.dtype)
        for at in range(s.positions):
            ky, kx = divmod(at, s.kernel_width)
            made = (weights[..., at] @ planes).reshape(*rows.shape[:2], s.height, s.width)
            ys = slice(ky * s.step_y, ky * s.step_y + s.height * s.stride_y, s.stride_y)
            xs = slice(kx * s.step_x, kx * s.step_x + s.width * s.stride_x, s.stride_x)
            sums[:, :, ys, xs] += made
        inside = sums[:, :, s.pad_y : s.pad_y + s.out_height, s.pad_x : s.pad_x + s.out_width]
        return inside.reshape(-1, s.plane)

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the types of input, output and code."""
        x, y = self.inputs[0], self.output
        verb = "spread" if self.is_transposed else "add"
        acc = "float" if y.grid is None else "int32_t"
        name = f"conv_{verb}_{self.stored.tag}_{x.tag}_{y.tag}{self.finish.tag}"
        types = {"X": x.c_type, "Y": y.c_type, "A": acc}
        function = _KERNEL.substitute(
            types,
            name=name,
            CODE=self.stored.parameters,
            FINISH=self.finish.parameters,
            LOOP=self.stored.loop(Template(_BODY).substitute(ADD=f"{verb}_{x.tag}")),
            RESULT=self.finish.expression(y, "r"),
        )
        adding = (_SPREAD if self.is_transposed else _ADD).substitute(types, tag=x.tag)
        group_rows = len(self.rows) // self.groups
        group_channels = self.rows.shape[1] // self.window.positions
        sizes = [str(n) for n in (len(self.rows), group_rows, group_channels)]
        arguments = [names.inputs[0], names.output, names.scratch, f"&{names.table('window')}"]
        arguments += [*sizes, names.table("bias")]
        arguments += map(names.table, self.stored.tables)
        arguments += self.finish.arguments(names.table)
        return CCode(
            f"{name}({', '.join(arguments)});",
            (STRUCT, _RANGE, self.finish.function(y), adding, function),
            {"bias": self.bias, **self.stored.tables, **self.finish.tables},
            self.window.plane,
            {"window": self.window.initialiser()},
        )
