"""Keeps what a benchmark measured, one row a case, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)


def load_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Return the rows that a file keeps, each an instance of `kind`; none where it is absent."""
    kept: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return [kind(**row) for row in kept]


def save_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows; the file is whole at any time, as another benchmark may read it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    part.replace(path)
