"""Holds the numbers of zeros that a run gives its layers, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from onnx_lobs.allocation.rules import RULES, Slot, allocate, default_rule
from onnx_lobs.layers.layer import Layer
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.patterns import Pattern
from onnx_lobs.report.record import AllocationRecord
from onnx_lobs.run.channels.choice import ChannelChoice
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.slots import layer_key

Zeros = Mapping[str, int]  # by the key of the layer; nobody may change them


@dataclass(frozen=True)
class Choice:
    """The zeros of every layer, for one sparsity.

    Parameters
    ----------
    zeros
        By the key of the layer.
    record
        How they were chosen by measurement; None where they were not.
    kind
        The kind of allocation that choices for other sparsities go on with; None: it is still to
        be found.
    channels
        Those that are removed; None where single weights go.
    """

    zeros: Zeros
    record: AllocationRecord | None = None
    kind: str | None = None
    channels: ChannelChoice | None = None

    @property
    def products(self) -> Sequence[ReducedProduct]:
        """Products of queries and keys that lose dimensions."""
        return () if self.channels is None else self.channels.products


def by_key(layers: Sequence[Layer], zeros: Sequence[int]) -> Zeros:
    """Return numbers of zeros by the key of their layer."""
    found = {layer_key(layer): n for layer, n in zip(layers, zeros, strict=True)}
    return MappingProxyType(found)


def by_rule(
    layers: Sequence[Layer], slots: Sequence[Slot], sparsity: float, rule: str, pattern: Pattern
) -> Zeros:
    """Return the zeros of each layer by a rule that looks at shapes and costs only."""
    return by_key(layers, allocate(slots, sparsity, rule, pattern))


def usual_rule(config: PruneConfig, sparsity: float) -> str:
    """Return the rule that the options name, or that is better at a sparsity."""
    return config.allocation if config.allocation in RULES else default_rule(sparsity)
