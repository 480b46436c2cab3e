"""Every option of a pruning run in one frozen record, checked once when it is made.

The command line's options and the keyword arguments of :func:`onnx_lobs.prune` are these
fields, under the same names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx_lobs.errors import ConfigError

OP_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# the same names as solvers.METHODS has, which a test compares: that table imports SciPy
METHOD_NAMES = (
    "joint",
    "exact-obs",
    "sparsegpt",
    "lobs",
    "lobs-iterative",
    "net-trim",
    "iht",
    "wanda",
    "obd",
    "apoz",
    "correlation",
    "magnitude",
    "random",
)
EFFORTS = ("fast", "default", "best")
ALLOCATIONS = ("auto", "uniform", "erk", "global")
BUDGETS = ("weights", "bytes", "macs")
GRAMS = ("auto", "numpy", "graph")
FORMATS = ("dense", "sparse")
SCORE_NAMES = ("top1", "top5", "agreement", "cosine")
LEAST_MEMORY = 1 << 20
BATCH_SIZE = 32
DEFAULT_POSITIONS = 64
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class PruneConfig:
    """The options of one run.

    Parameters
    ----------
    sparsity
        Fraction of the prunable weights that become zero, in [0, 1). The count is exact.
        None: 0.5, or what an N:M pattern has.
    max_drop, max_output_error, max_bytes
        In place of `sparsity`: the sparsest network is searched for whose score on the test data
        is at most `max_drop` below the dense one's with 95 % confidence (where the score is a
        mean over samples; with very few, if it looks no worse than an unchanged one), or whose
        relative output error is at most `max_output_error`; or the least sparse one whose file
        has at most `max_bytes` bytes.
    layer_sparsity
        ``{pattern: sparsity}``: layers whose name matches get this sparsity instead; the
        last match wins. Patterns as in `include`. A layer named in full is pruned even when it
        would be left dense by default, unless it is excluded.
    layer_min, layer_max
        ``{pattern: sparsity}``: between which the sparsity of such layers has to be, where it is
        not given by `layer_sparsity`; the last match wins.
    pattern
        ``unstructured``; ``N:M``: N of M consecutive input channels are kept at each kernel
        tap; ``RxC``: blocks of R consecutive outputs times C consecutive inputs.
    method
        Name in ``onnx_lobs.solvers.METHODS``.
    effort
        ``fast``, ``default`` or ``best``: how long ``joint`` looks for better zeros.
    refit
        Whether the exact least-squares refit ends the method; None: as it was made.
    allocation
        How zeros are shared between layers: ``uniform``; ``erk`` (density of a layer
        proportional to the sum over the product of its dimensions); ``global``: the least sum
        of the layers' error curves, each times what the network's output was measured to
        make of it; ``auto``: the best of these and of several in between, tried on
        calibration samples that were held out.
    budget
        What `sparsity` is a fraction of: ``weights``; ``bytes`` as stored; or ``macs``,
        multiplications per sample.
    include, exclude
        Patterns on layer and node names: shell globs, or ``re:`` and a regular
        expression. A pattern that matches nothing is an error. What is included by name
        is taken even when it would be left dense by default (depthwise, few weights).
    op_types
        Operators taken.
    min_weights
        Layers with fewer weights are left dense.
    damp
        Fraction of the mean diagonal added to the Hessian's diagonal; None lets the
        calibration choose.
    sequential
        True: each layer sees the pruned network's inputs and aims at the dense network's
        pre-activations. False: the paper's mode, inputs of the dense network. None: what
        the method was made for.
    correct
        Whether means and variances behind pruned layers are corrected where that lowers the
        output error; None: in independent mode, where the method ends in a refit. In
        sequential mode every layer is already fitted to what those before it give.
    samples
        Largest number of calibration samples read; None reads all.
    positions
        Observations per input that are read of a convolution's windows over all samples, at
        random positions, or at fixed distances from a random one, and 65,536 where that is more
        (in G groups that over G, or over 8); None: all. What is read at every position at no more
        cost is.
    batch_size
        Samples per onnxruntime call; a fixed batch axis in the model wins. None: BATCH_SIZE, or as
        many as show 256 MiB of the layers' inputs (if NumPy multiplies what the CPU provider
        computed), or as `memory` lets.
    seed
        Seeds synthetic data and every random choice. Same seed, same bytes.
    score
        What is measured on the test data before and after: ``top1`` or ``top5`` (share of
        samples whose label has the largest, or one of the five largest, class scores);
        ``agreement`` with the dense network's choices; ``cosine`` similarity to its outputs;
        or ``FILE.py:FUNCTION``, see :mod:`onnx_lobs.evaluation.script`. None: top1 where
        there is labelled test data, else nothing.
    provider
        ``cpu``, ``cuda`` or the full name of an onnxruntime execution provider.
    gram
        What computes the Grams of independent mode: ``numpy`` from the activations; ``graph``:
        onnxruntime, so that only d x d matrices leave the device; ``auto``: the graph on any
        provider but cpu. NumPy reads `positions` of a convolution, the graph all. Other Grams,
        and those that the graph cannot compute, are NumPy's; the report's warnings name the
        latter.
    bound
        Whether a bound of the output error is computed from the layers' errors, and what
        first-order theory foresees.
    storage
        ``dense`` or ``sparse``: how pruned weights are written (``--format``).
    input_shapes
        ``{input: shape}`` for synthetic data where the model leaves axes open.
    memory
        Bytes that activations, Grams and weights may take together, about; what does not fit
        goes to the scratch folder, takes another pass, or is run in stages. None: half of
        the available memory for activations, 2 GiB of Grams, 1 GiB of weights.
    scratch
        Folder for temporary files; None: the system's.
    cache
        Folder in which Grams and solved layers are kept for later runs; None: nowhere.

    Raises
    ------
    ConfigError
        When a value is out of its range; the message names value, limit and remedy.
    """

    sparsity: float | None = None
    max_drop: float | None = None
    max_output_error: float | None = None
    max_bytes: int | None = None
    layer_sparsity: Mapping[str, float] = field(default_factory=dict)
    layer_min: Mapping[str, float] = field(default_factory=dict)
    layer_max: Mapping[str, float] = field(default_factory=dict)
    pattern: str = "unstructured"
    method: str = "joint"
    effort: str = "default"
    refit: bool | None = None
    allocation: str = "auto"
    budget: str = "weights"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    op_types: tuple[str, ...] = OP_TYPES
    min_weights: int = 64
    damp: float | None = None
    sequential: bool | None = None
    correct: bool | None = None
    samples: int | None = None
    positions: int | None = DEFAULT_POSITIONS
    batch_size: int | None = None
    seed: int = 0
    score: str | None = None
    provider: str = "cpu"
    gram: str = "auto"
    bound: bool = False
    storage: str = "dense"
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    memory: int | None = None
    scratch: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_sparsity("sparsity", self.sparsity)
        for name in ("layer_sparsity", "layer_min", "layer_max"):
            for pattern, value in getattr(self, name).items():
                check_sparsity(f"{name.replace('_', ' ')} of {pattern!r}", value)
        _check_choice("method", self.method, METHOD_NAMES)
        _check_choice("effort", self.effort, EFFORTS)
        _check_choice("allocation", self.allocation, ALLOCATIONS)
        _check_choice("budget", self.budget, BUDGETS)
        _check_choice("gram", self.gram, GRAMS)
        _check_choice("format", self.storage, FORMATS)
        if self.score is not None:
            check_score(self.score)
        for op in self.op_types:
            _check_choice("op type", op, OP_TYPES)
        _check_at_least("min_weights", self.min_weights, 0)
        _check_at_least("seed", self.seed, 0)
        if self.batch_size is not None:
            _check_at_least("batch_size", self.batch_size, 1)
        if self.samples is not None:
            _check_at_least("samples", self.samples, 1)
        if self.positions is not None:
            _check_at_least("positions", self.positions, 1)
        if self.memory is not None:
            _check_at_least("memory", self.memory, LEAST_MEMORY)
        for name in ("max_drop", "max_output_error"):
            _check_limit(name, getattr(self, name))
        if self.max_bytes is not None:
            _check_at_least("max_bytes", self.max_bytes, 1)
        if self.damp is not None and not (math.isfinite(self.damp) and self.damp >= 0):
            raise ConfigError(f"damp is {self.damp}; it must be a finite number >= 0, e.g. 1e-3")


def has_target(config: PruneConfig) -> bool:
    """Whether the options name a target in place of a sparsity."""
    return any(x is not None for x in (config.max_drop, config.max_output_error, config.max_bytes))


def parse_bytes(text: str) -> int:
    """Return the number of bytes in a text such as ``2GiB``, ``500 MB`` or ``1000000``.

    ``KB``, ``MB`` ... are powers of 1000; ``KiB`` and plain ``K`` are powers of 1024.

    Raises
    ------
    ConfigError
        When the text is no such number.

    Examples
    --------
    >>> parse_bytes("2GiB"), parse_bytes("1.5 kb"), parse_bytes("4096")
    (2147483648, 1500, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?\s*", text.lower())
    if match is None:
        raise ConfigError(f"{text!r} is no amount of memory; write 2GiB, 500MB or bytes")
    number, unit, end = match.groups()
    return int(float(number) * (1000 if end == "b" else 1024) ** _UNITS[unit])


def check_sparsity(what: str, value: float) -> None:
    """Raise ConfigError unless ``0 <= value < 1``."""
    if not (math.isfinite(value) and 0 <= value < 1):
        hint = f"; for {value:g} % write {value / 100:g}" if 1 < value < 100 else ""
        raise ConfigError(f"{what} is {value}; it must be at least 0 and below 1{hint}")


def check_score(name: str) -> None:
    """Raise ConfigError unless `name` is a built-in score or looks like ``FILE.py:FUNCTION``."""
    if name not in SCORE_NAMES and ":" not in name:
        names = ", ".join(SCORE_NAMES)
        raise ConfigError(f"score {name!r} is unknown; choose one of {names}, or FILE.py:FUNCTION")


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{what} {value!r} is unknown; choose one of {', '.join(choices)}")


def _check_limit(what: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{what} is {value}; it must be a finite number >= 0, e.g. 0.01")


def _check_at_least(what: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{what} is {value}; it must be at least {least}")
