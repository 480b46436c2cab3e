"""Declares what a pruned model is held to when it is compared with the dense one."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.checks import check_sparsity, finite
from onnx_lobs.options.number_kinds import number
from onnx_lobs.options.option import check_options, option
from onnx_lobs.options.prose import documents_options


@documents_options
@dataclass(frozen=True)
class Limits:
    """What a pruned model is held to; None: no limit.

    Raises
    ------
    ConfigError
        When a limit is negative or not finite, or the sparsity is not below 1.
    """

    max_drop: float | None = option(
        None,
        "Most that the score may drop: 0.01 is one point of top1.",
        number(finite("0.01"), "X"),
        more="Of several scores the first counts.",
    )
    max_output_error: float | None = option(
        None, "Largest relative output error.", number(finite("0.01"), "E")
    )
    min_sparsity: float | None = option(
        None, "Fewest zeros among the prunable weights, as a fraction.", number(check_sparsity)
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self != Limits()
