"""Records which channels a run removed, and which had to stay."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GroupRecord:
    """One coupled group: channels that stand alike in the model.

    Parameters
    ----------
    name
        A weight that holds the channels.
    channels, kept
        Before and after.
    loss
        The sum of the relative errors of the layers that read them, on the dense network's inputs
        and with all their other weights refitted: what the choice was made by.
    sensitivity
        The output error over that loss, with channels of this group alone removed; None where it
        was not measured.
    """

    name: str
    channels: int
    kept: int
    loss: float
    sensitivity: float | None = None


@dataclass(frozen=True)
class QueryKeyRecord:
    """One product of queries and keys, whose dimensions go in all heads at once.

    Parameters
    ----------
    name
        The product.
    heads, dimensions, kept
        Heads that the model had, and dimensions of each before and after.
    loss
        What is lost of the logits, relative to their energy; both without what all keys of a
        query have in common.
    sensitivity
        As that of a GroupRecord.
    """

    name: str
    heads: int
    dimensions: int
    kept: int
    loss: float
    sensitivity: float | None = None


@dataclass(frozen=True)
class PinnedRecord:
    """Channels of a weight that have to stay, and why."""

    name: str
    channels: int
    reason: str


@dataclass(frozen=True)
class ChannelsRecord:
    """What became of a model's channels.

    ``multiplications`` and ``constants`` are (before, after): of one batch of the samples that the
    model was observed on, by all products; and bytes. ``removable`` is the part of the budget's
    costs that the groups have a share in, of ``removed`` the fraction that is gone. ``latency`` is
    the seconds of one run on that batch, on one thread of this machine; ``predicted_latency`` what
    the choice was made by, with budget latency. ``then_zeros`` says whether the weights that stay
    were pruned in the same run.
    """

    groups: tuple[GroupRecord, ...]
    pinned: tuple[PinnedRecord, ...]
    budget: str
    removed: float
    multiplications: tuple[int, int]
    constants: tuple[int, int]
    latency: tuple[float, float] | None = None
    predicted_latency: tuple[float, float] | None = None
    then_zeros: bool = False
    products: tuple[QueryKeyRecord, ...] = ()
