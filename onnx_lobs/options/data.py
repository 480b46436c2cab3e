"""Declares the options of which samples the network runs on, and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onnx_lobs.errors import ConfigError, did_you_mean
from onnx_lobs.options.number_kinds import SHAPES, count, count_or_all
from onnx_lobs.options.option import Affects, option
from onnx_lobs.options.word_kinds import text_or_function

SCORE_NAMES = ("top1", "top5", "agreement", "cosine")
BATCH_SIZE = 32
DEFAULT_POSITIONS = 64


def check_score(name: str, value: str | Callable[..., Any]) -> None:
    """Raise ConfigError unless `value` is a score, looks like ``FILE.py:FUNCTION``, or is one."""
    if isinstance(value, str) and value not in SCORE_NAMES and ":" not in value:
        names, near = ", ".join(SCORE_NAMES), did_you_mean(value, SCORE_NAMES)
        raise ConfigError(
            f"{name} {value!r} is unknown; {near}choose one of {names}, or FILE.py:FUNCTION"
        )


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options of which samples the network runs on, and what is measured on them."""

    score: str | Callable[..., Any] | None = option(
        None,
        "What is scored: top1, top5 (need labels: class indices); agreement with the dense model's "
        "choices; cosine similarity to its outputs; or your function, def FN(run) or def FN(run, "
        "batches): run(feeds) gives outputs by name, batches yields (feeds, labels), the result is "
        "a number, or one per sample, higher is better. This runs the code in FILE.py.",
        text_or_function("|".join((*SCORE_NAMES, "FILE.py:FN")), check_score, SCORE_NAMES),
        unset="top1 where `test` has labels",
        affects=Affects.RUN,
        also=("evaluate",),
        aliases=("eval", "metric", "accuracy"),
    )
    samples: int | None = option(
        None,
        "Most samples of `data` used.",
        count(1),
        unset="all",
        also=("evaluate", "inspect"),
    )
    positions: int | None = option(
        DEFAULT_POSITIONS,
        "Observations per input that are read of a convolution, at random positions.",
        count_or_all(1),
        more="They are counted over all samples, and 65,536 are read where that is more (in G "
        "groups that over G, or over 8); some are read at fixed distances from a random one. "
        "What costs no more to read at every position is read at all.",
    )
    batch_size: int | None = option(
        None,
        "Samples per call of onnxruntime; a batch size fixed by the model wins.",
        count(1),
        unset="32; when pruning, fewer where `memory` asks for it",
        more="When pruning, NumPy multiplies what the CPU provider computed in batches that show "
        "256 MiB of the layers' inputs.",
        also=("evaluate",),
    )
    input_shapes: Mapping[str, tuple[int, ...]] = option(
        {},
        "Shape of an input that is made up, batch axis included.",
        SHAPES,
        flags=("--input-shape",),
        also=("evaluate", "inspect"),
    )
