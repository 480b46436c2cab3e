"""Records what was left as it was, and the sums of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SkipRecord:
    """A node with weights that was left as it was, why, and what kind of reason that is.

    Kinds are the values of :class:`onnx_lobs.layers.refusal.RefusalKind`. ``weights`` is how many
    it multiplies by, also where other nodes do so too.
    """

    node: str
    op: str
    reason: str
    kind: str
    weights: int = 0


@dataclass(frozen=True)
class FileWeights:
    """The weights of a whole file: constants that nodes multiply by and sum up, each once.

    Parameters
    ----------
    weights
        All of them, quantised ones too.
    taken
        Those of layers that were chosen to be pruned.
    skipped
        The others, by the kind of reason, most first.
    tables
        Numbers in constants of which nodes only look up rows; not in `weights`.
    quantised, quantised_zeros
        How many of `weights` are whole numbers, and of these how many stand for 0; None where that
        was not counted.
    products
        Products of two computed operands, which hold no weights and are not listed.
    """

    weights: int
    taken: int
    skipped: dict[str, int]
    tables: int = 0
    quantised: int = 0
    quantised_zeros: int | None = None
    products: int = 0


@dataclass(frozen=True)
class Totals:
    """Sums over the pruned layers, and sizes of the files.

    ``file_bytes`` and ``gzip_bytes`` are (before, after), of the model and its external
    data; None where there was no file, the latter also where it has more than 1 GiB. ``file`` has
    the weights of the whole model, None where they were not counted. ``multiplications`` are those
    of one sample (before, after) by weights of these layers that are not zero, None where a size is
    not known.
    """

    weights: int
    zeros: int
    seconds: float
    file_bytes: tuple[int, int] | None = None
    gzip_bytes: tuple[int, int] | None = None
    file: FileWeights | None = None
    multiplications: tuple[int, int] | None = None

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among the weights of the pruned layers."""
        return self.zeros / self.weights if self.weights else 0.0
