"""Names a constant of the file that nodes multiply by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredWeight:
    """A constant that nodes multiply by.

    Parameters
    ----------
    scope, name
        Index of the scope, and the name there; of what is stored in no tensor, -1 and the node's.
    size
        How many weights it holds.
    is_quantised
        Whether they are whole numbers.
    zero_point
        Scope and name of the constant that stands for 0, or None: 0 does.
    axis
        Of the weight, along which zero points differ.
    is_readable
        Whether a value of the tensor is a weight: not where several share a byte.
    """

    scope: int
    name: str
    size: int
    is_quantised: bool = False
    zero_point: tuple[int, str] | None = None
    axis: int = -1
    is_readable: bool = True

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from others."""
        return self.scope, self.name
