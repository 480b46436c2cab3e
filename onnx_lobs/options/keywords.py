"""Types the keyword arguments of prune(), evaluate() and retrain() for editors.

Written by ``tools/make_reference.py`` from the declarations of the options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict


class PruneOptions(TypedDict, total=False):
    """Types the options of prune()."""

    sparsity: float | None
    pattern: str
    channels: float | None
    max_drop: float | None
    max_output_error: float | None
    max_bytes: int | None
    layer_sparsity: Mapping[str, float]
    layer_min: Mapping[str, float]
    layer_max: Mapping[str, float]
    allocation: str
    budget: str | None
    align: int | None
    channel_choice: str
    drop_empty: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    op_types: tuple[str, ...]
    min_weights: int
    tied: str
    method: str
    effort: str
    time: float | None
    refit: bool | None
    refit_blocks: bool
    sequential: bool | None
    correct: bool | None
    damp: float | None
    seed: int
    retrain: int | None
    rounds: tuple[float, ...] | None
    retrain_towards: str
    retrain_move: str
    retrain_rate: float
    retrain_decay: float
    retrain_sparsity: float | None
    retrain_optimiser: str
    score: str | Callable[..., Any] | None
    samples: int | None
    positions: int | None
    batch_size: int | None
    input_shapes: Mapping[str, tuple[int, ...]]
    preset: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    scale: float | None
    layout: str | None
    resize: tuple[int, ...] | None
    crop: tuple[int, ...] | None
    channel_order: str | None
    classes: str | None
    sample_rate: int | None
    tokenizer: str | None
    max_length: int | None
    label_column: str | None
    provider: str
    gram: str
    memory: int | None
    scratch: str | None
    cache: str | None
    target: str | None
    chip: str | None
    optimise: str
    storage: str | None
    values: str
    activations: str
    bound: bool


class EvaluateOptions(TypedDict, total=False):
    """Types the options of evaluate()."""

    seed: int
    samples: int | None
    batch_size: int | None
    input_shapes: Mapping[str, tuple[int, ...]]
    preset: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    scale: float | None
    layout: str | None
    resize: tuple[int, ...] | None
    crop: tuple[int, ...] | None
    channel_order: str | None
    classes: str | None
    sample_rate: int | None
    tokenizer: str | None
    max_length: int | None
    label_column: str | None
    provider: str
    memory: int | None
    max_drop: float | None
    max_output_error: float | None
    min_sparsity: float | None


class RetrainKeywords(TypedDict, total=False):
    """Types the options of retrain()."""

    steps: int
    towards: str
    move: str
    rate: float
    decay: float
    sparsity: float | None
    optimiser: str
    seed: int
    score: str | Callable[..., Any] | None
    samples: int | None
    batch_size: int | None
    input_shapes: Mapping[str, tuple[int, ...]]
    preset: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    scale: float | None
    layout: str | None
    resize: tuple[int, ...] | None
    crop: tuple[int, ...] | None
    channel_order: str | None
    classes: str | None
    sample_rate: int | None
    tokenizer: str | None
    max_length: int | None
    label_column: str | None
    provider: str
    memory: int | None
