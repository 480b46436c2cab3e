"""Stores the rows of a weight as C tables: every value, a bit for each, or gaps between them.

========  ======================================  =======================================
code      tables                                  bytes of a row with n values of k places
========  ======================================  =======================================
dense     values                                  k values
bitmask   one bit a place, values                 k / 8, n values
gaps      counts, one byte a gap, values          1 or 2, n, n values
========  ======================================  =======================================

A gap of more than 255 places gets fillers of value zero. Kernels are written once for all codes:
`Code.loop` gives the loop over the values of one row, whose body sees ``pos`` and ``w``.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.storage.gap8 import bridged

# instructions of a Cortex-M4 for one place and for one value, counted in compiled code (-O3)
_PLACE = {"dense": 5.0, "bitmask": 5.0, "gaps": 0.0}
_VALUE = {"dense": 0.0, "bitmask": 6.0, "gaps": 7.0}


@dataclass(frozen=True)
class CodeKind:
    """What a kernel needs to walk through one row of a code.

    Parameters
    ----------
    name
        Of the code.
    parameters
        C parameters; ``$W`` is the type of values, ``$N`` that of counts.
    loop
        C statements that run ``$BODY`` for each value of the next row, of `columns` places.
    """

    name: str
    parameters: str
    loop: str


KINDS = {
    kind.name: kind
    for kind in (
        CodeKind(
            "dense",
            "const $W *values",
            """for (int pos = 0; pos < columns; pos++) {
            const $W w = *values++;
            $BODY
        }""",
        ),
        CodeKind(
            "bitmask",
            "const uint8_t *bits, const $W *values",
            """for (int byte = 0; byte < columns; byte += 8) {
            int pos = byte;
            for (unsigned set = *bits++; set != 0; set >>= 1, pos++) {
                if (set & 1u) {
                    const $W w = *values++;
                    $BODY
                }
            }
        }""",
        ),
        CodeKind(
            "gaps",
            "const $N *counts, const uint8_t *gaps, const $W *values",
            """int pos = 0;
        for (int left = *counts++; left != 0; left--) {
            const $W w = *values++;
            pos += *gaps++;
            $BODY
        }""",
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Code:
    """The rows of a weight in one code: its tables in the order of the kernel's parameters."""

    kind: CodeKind
    tables: dict[str, Array]

    @property
    def n_bytes(self) -> int:
        """Bytes of all tables."""
        return sum(int(table.nbytes) for table in self.tables.values())

    @property
    def parameters(self) -> str:
        """C parameters of a kernel: the tables, in their order."""
        return Template(self.kind.parameters).substitute(self._types)

    def loop(self, body: str) -> str:
        """Return C statements that run a body for each value of the next row."""
        return Template(self.kind.loop).substitute(self._types, BODY=body)

    @property
    def _types(self) -> dict[str, str]:
        """C types of values, and of counts where there are some."""
        names = {key: table.dtype.name for key, table in self.tables.items()}
        weight = "float" if names["values"] == "float32" else f"{names['values']}_t"
        return {"W": weight, "N": f"{names['counts']}_t" if "counts" in names else ""}

    @property
    def tag(self) -> str:
        """What the names of kernels have of it: the kind, and the bits of counts."""
        counts = self.tables.get("counts")
        return self.kind.name if counts is None else f"{self.kind.name}{8 * counts.itemsize}"


def encode(rows: Array, optimise: str = "size") -> Code:
    """Return the rows in the code of the fewest bytes, or of the fewest instructions.

    For speed no code is taken that is larger than the dense one.

    Parameters
    ----------
    rows
        (rows, columns) of int8 or float32.
    optimise
        ``size`` or ``speed``. Instructions are estimates for a product of one vector.
    """
    codes = [_dense(rows), _bitmask(rows), _gaps(rows)]
    if optimise == "size":
        return min(codes, key=lambda code: code.n_bytes)

    def instructions(code: Code) -> float:
        n_values = code.tables["values"].size
        return _PLACE[code.kind.name] * rows.size + _VALUE[code.kind.name] * n_values

    return min((c for c in codes if c.n_bytes <= codes[0].n_bytes), key=instructions)


def _dense(rows: Array) -> Code:
    return Code(KINDS["dense"], {"values": rows.reshape(-1)})


def _bitmask(rows: Array) -> Code:
    bits = np.packbits(rows != 0, axis=1, bitorder="little")
    return Code(KINDS["bitmask"], {"bits": bits.reshape(-1), "values": rows[rows != 0]})


def _gaps(rows: Array) -> Code:
    counts, gaps, values = [], [], []
    for row in rows:
        row_gaps, row_values = _gap_row(row)
        counts.append(len(row_gaps))
        gaps.append(row_gaps)
        values.append(row_values)
    tables = {
        "counts": np.array(counts, np.min_scalar_type(max(counts, default=0))),
        "gaps": np.concatenate([np.zeros(0, np.uint8), *gaps]),
        "values": np.concatenate([np.zeros(0, rows.dtype), *values]),
    }
    return Code(KINDS["gaps"], tables)


def _gap_row(row: Array) -> tuple[Array, Array]:
    """Return the gaps and values of one row, fillers included."""
    places = np.flatnonzero(row)
    reached = bridged(places) if places.size else places
    values = row[reached] + row.dtype.type(0)  # of a filler: 0, where the row has -0
    return np.diff(reached, prepend=0).astype(np.uint8), values
