"""Writes a program as C99: a header and a source, with what checks them beside."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.targets.c.check_program import check_files
from onnx_lobs.targets.c.plan import BufferPlan, plan_buffers
from onnx_lobs.targets.c.program import CCode, Names, Program
from onnx_lobs.targets.c.text import array_text, comment, float_text

_PER_LETTER, _PER_CALL, _PER_LOOP = 0.25, 60, 130  # bytes, of :func:`code_estimate`
_CALLS = re.compile(r"^ *\w+\(.*\);$", re.MULTILINE)  # lines that are calls
_MATH = re.compile(r"\b(?:expf|log1pf|logf|tanhf|erff|sqrtf|fabsf|INFINITY)\b")
_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "uint16": "uint16_t", "int32": "int32_t"}
_TYPES |= {"uint32": "uint32_t", "float32": "float"}
_HEADER = Template(
    """/* $title. Written by onnx-lobs $version; $licence. */
#ifndef $GUARD
#define $GUARD

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

$sizes
/* Computes one sample. Nothing is allocated; not reentrant. */
void ${name}_run($parameters);

#ifdef __cplusplus
}
#endif

#endif
"""
)
_SOURCE = Template(
    """/* $title. Written by onnx-lobs $version; $licence. */
#include "$name.h"
$includes
$shared$functions
$tables
$buffers
void ${name}_run($parameters)
{
    $calls
}
"""
)
_LICENCE = "the code is yours to use as the model is"


@dataclass(frozen=True, eq=False)
class CFiles:
    """The files of a network by name, and what they take on a device.

    Parameters
    ----------
    texts
        By file name.
    table_bytes, code_bytes
        For flash: constants, and an upper estimate of compiled code.
    ram_bytes
        Static buffers: values and sums.
    io_bytes
        Inputs and outputs, which the caller holds.
    """

    texts: Mapping[str, str]
    table_bytes: int
    code_bytes: int
    ram_bytes: int
    io_bytes: int


def emit(
    program: Program, name: str, title: str, version: str, samples: Sequence[Mapping[str, Array]]
) -> CFiles:
    """Return the C files of a program.

    Parameters
    ----------
    program
        What is computed.
    name
        A C identifier: of the files, and in front of all that the header declares.
    title
        What the network is, for people.
    version
        Of this tool.
    samples
        Inputs by name, in the program's types, which the check runs.
    """
    codes, plan = _codes(program)
    shared = _shared(codes)
    scratch = max((code.scratch for code in codes), default=0)
    is_float = program.inputs[0].grid is None
    buffers, ram = _buffers(plan.size, scratch, is_float)
    about = {"title": comment(title), "version": version, "licence": _LICENCE, "name": name}
    functions = dict.fromkeys(text for code in codes for text in code.functions)
    source = _SOURCE.substitute(
        about,
        includes="#include <math.h>\n" if _needs_math(codes) else "",
        shared="".join(f"{_constant(label, table)}\n\n" for label, table in shared.items()),
        functions="\n".join(functions),
        tables=_tables(codes),
        buffers=buffers,
        parameters=_parameters(program),
        calls="\n    ".join(code.call for code in codes) or ";",
    )
    header = _HEADER.substitute(
        about,
        GUARD=f"{name.upper()}_H",
        sizes=_sizes(program, name),
        parameters=_parameters(program),
    )
    texts = {f"{name}.c": source, f"{name}.h": header}
    texts |= check_files(program, name, samples)
    io_bytes = sum(value.n_bytes for value in (*program.inputs, *program.outputs))
    return CFiles(texts, _table_bytes(codes), code_estimate(codes), ram, io_bytes)


def flash_estimate(program: Program) -> int:
    """Return the bytes of the tables and the code of a program, without writing them."""
    codes, _ = _codes(program)
    return _table_bytes(codes) + code_estimate(codes)


def _codes(program: Program) -> tuple[list[CCode], BufferPlan]:
    """Return the code of every step, and where values lie."""
    codes, plan = [], plan_buffers(program)
    pointers = _pointers(program, plan.offsets)
    for number, step in enumerate(program.steps):
        made = [pointers[program.root(value.name)] for value in step.outputs]
        names = Names(
            tuple(pointers[program.root(value.name)] for value in step.inputs),
            made[0],
            _numbered(number),
            others=tuple(made[1:]),
        )
        codes.append(step.code(names))
    return codes, plan


def _numbered(number: int) -> Callable[[str], str]:
    """Return what names the tables of a step."""
    return lambda suffix: f"{suffix}_{number}"


def _table_bytes(codes: Sequence[CCode]) -> int:
    """Return the bytes of all constants."""
    tables = [table for code in codes for table in code.tables.values()]
    tables += _shared(codes).values()
    windows = [window for code in codes for window in code.windows.values()]
    n_sizes = sum(window.count(",") + 1 for window in windows)  # of 32 bits
    return sum(int(table.nbytes) for table in tables) + 4 * n_sizes


def code_estimate(codes: Sequence[CCode]) -> int:
    """Return how many bytes compiled code takes at most, on a Cortex-M4 at -O2.

    Bytes per letter of functions, per step, per loop and per further call of a step. They held,
    with room to spare, for all networks that were compiled for the guide's page
    ``microcontrollers``, and for those of the tests.
    """
    letters = sum(map(len, {text for code in codes for text in code.functions}))
    further = sum(max(0, len(_CALLS.findall(code.call)) - 1) for code in codes)
    loops = sum(code.call.count("for (") for code in codes)
    blocks = _PER_CALL * len(codes) + _PER_LOOP * (loops + further)
    return round(_PER_LETTER * letters + blocks)


def write_files(files: CFiles, folder: Path) -> list[Path]:
    """Write all files into a folder, each whole or not at all, and return their paths.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".onnx-lobs-", dir=folder) as scratch:
            for name, text in files.texts.items():
                (Path(scratch) / name).write_text(text, encoding="ascii")
            for name in files.texts:
                (Path(scratch) / name).replace(folder / name)
    except OSError as error:
        where = str(folder)
        raise ConfigError(f"{where!r} cannot be written: {error.strerror}; name another") from error
    return [folder / name for name in files.texts]


def _pointers(program: Program, offsets: Mapping[str, int]) -> dict[str, str]:
    """Return the C expression of every value that is no view."""
    found = {name: f"values + {at}" if at else "values" for name, at in offsets.items()}
    for number, value in enumerate(program.outputs):
        found[program.root(value.name)] = f"output_{number}"
    for number, value in enumerate(program.inputs):
        found[value.name] = f"input_{number}"
    made = {value.name: value for step in program.steps for value in step.outputs}
    for name in offsets:
        if made[name].grid is not None:  # one buffer of bytes holds both types
            found[name] = f"({made[name].c_type} *)({found[name]})"
    return {name: f"({text})" if " " in text else text for name, text in found.items()}


def _parameters(program: Program) -> str:
    parts = [f"const {v.c_type} *input_{i}" for i, v in enumerate(program.inputs)]
    parts += [f"{v.c_type} *output_{i}" for i, v in enumerate(program.outputs)]
    return ", ".join(parts)


def _sizes(program: Program, name: str) -> str:
    """Return the definitions of sizes and scales."""
    lines = []
    for kind, values in (("INPUT", program.inputs), ("OUTPUT", program.outputs)):
        for number, value in enumerate(values):
            prefix = f"{name.upper()}_{kind}_{number}"
            shape = "x".join(map(str, value.shape)) or "1"
            lines.append(f"/* {comment(value.name)}: {shape} {value.c_type} */")
            lines.append(f"#define {prefix}_SIZE {value.size}")
            if value.grid is not None:
                lines.append(f"/* real value = {prefix}_SCALE * integer */")
                lines.append(f"#define {prefix}_SCALE {float_text(value.grid.scale)}")
    return "\n".join([*lines, ""])


def _buffers(size: int, scratch: int, is_float: bool) -> tuple[str, int]:
    lines = []
    if size:
        lines.append(f"static {'float' if is_float else 'uint8_t'} values[{size}];")
    if scratch:
        lines.append(f"static {'float' if is_float else 'int32_t'} sums[{scratch}];")
    return "\n".join([*lines, ""]), size * (4 if is_float else 1) + 4 * scratch


def _tables(codes: Sequence[CCode]) -> str:
    """Return the constants of all steps as C text."""
    lines = []
    for number, code in enumerate(codes):
        for suffix, window in code.windows.items():
            lines.append(f"static const window {suffix}_{number} = {window};")
        for suffix, table in code.tables.items():
            lines.append(_constant(f"{suffix}_{number}", table))
    return "\n".join([*lines, ""])


def _constant(name: str, table: Array) -> str:
    return array_text(f"static const {_TYPES[table.dtype.name]} {name}", table)


def _shared(codes: Sequence[CCode]) -> dict[str, Array]:
    """Return the constants that steps share, by name."""
    return {name: table for code in codes for name, table in code.shared.items()}


def _needs_math(codes: Sequence[CCode]) -> bool:
    texts = [text for code in codes for text in (code.call, *code.functions)]
    return any(_MATH.search(text) for text in texts)
