"""Writes samples with their outputs as C, and the program that compares a network with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.errors import NotFiniteError
from onnx_lobs.targets.c.program import Program, Value
from onnx_lobs.targets.c.text import array_text

_NEAR = "1e-4f"  # C adds in another order than NumPy, and has other exponentials: some 1e-6 a step
_MAIN = Template(
    """/* Runs the samples of ${name}_samples.h and compares every output; 0 if all agree. */
#include <stdio.h>
$includes
#include "$name.h"
#include "${name}_samples.h"

int main(void)
{
    int wrong = 0;
    for (int sample = 0; sample < N_SAMPLES; sample++) {
        $locals
        ${name}_run($arguments);
        $checks
    }
    printf("%d of %d samples differ\\n", wrong, N_SAMPLES);
    return wrong != 0;
}
"""
)


def check_files(
    program: Program, name: str, samples: Sequence[Mapping[str, Array]]
) -> dict[str, str]:
    """Return the two files by name; the outputs are those of the reference.

    Parameters
    ----------
    program, name, samples
        As of :func:`onnx_lobs.targets.c.emit.emit`.

    Raises
    ------
    NotFiniteError
        A float32 network gives an output that is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # told apart here
        outputs = [program.compute(sample) for sample in samples]
    for value in program.outputs:
        wrong = [i for i, made in enumerate(outputs) if not np.isfinite(made[value.name]).all()]
        if wrong:
            raise NotFiniteError(
                f"the output {value.name!r} is not finite on sample {wrong[0]} of the calibration "
                "data; C code cannot be checked with it: give data on which the model computes "
                "numbers"
            )
    lines = [f"#define N_SAMPLES {len(samples)}"]
    for i, value in enumerate(program.inputs):
        stacked = np.stack([sample[value.name].reshape(-1) for sample in samples])
        lines.append(_samples_text(f"samples_input_{i}", value, stacked))
    for i, value in enumerate(program.outputs):
        stacked = np.stack([output[value.name].reshape(-1) for output in outputs])
        lines.append(_samples_text(f"expected_output_{i}", value, stacked))
    text = _MAIN.substitute(
        name=name,
        includes="#include <math.h>" if program.inputs[0].grid is None else "#include <string.h>",
        locals="\n        ".join(
            f"{v.c_type} output_{i}[{v.size}];" for i, v in enumerate(program.outputs)
        ),
        arguments=", ".join(
            [
                *(f"samples_input_{i} + sample * {v.size}" for i, v in enumerate(program.inputs)),
                *(f"output_{i}" for i in range(len(program.outputs))),
            ]
        ),
        checks="\n        ".join(_check(i, v) for i, v in enumerate(program.outputs)),
    )
    return {f"{name}_samples.h": "\n\n".join([*lines, ""]), f"{name}_check.c": text}


def _samples_text(label: str, value: Value, stacked: Array) -> str:
    return array_text(f"static const {value.c_type} {label}", stacked)


def _check(number: int, value: Value) -> str:
    wanted, got = f"expected_output_{number} + sample * {value.size}", f"output_{number}"
    if value.grid is not None:
        return f"wrong += memcmp({got}, {wanted}, {value.size}) != 0;"
    near = f"fabsf({got}[i] - ({wanted})[i]) <= {_NEAR} + {_NEAR} * fabsf(({wanted})[i])"
    return (
        f"for (int i = 0; i < {value.size}; i++)\n"
        f"            if (!({near})) {{\n"
        "                wrong++;\n                break;\n            }"
    )
