"""Shares channels between coupled groups: the same fraction of each, or where they cost least."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from onnx_lobs.allocation.channel_costs import ChannelCosts
from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.errors import ConfigError

STEPS = 40  # of the bisection of a share
AHEAD = 4  # corners of a group that are compared with those of others


@dataclass(frozen=True, eq=False)
class GroupSlot:
    """One coupled group as the allocation sees it.

    Parameters
    ----------
    loss
        (n + 1,) what is lost when so many of its n channels are gone; not descending.
    align
        What is kept is a multiple of this, or all.
    """

    loss: FloatArray
    align: int = 1

    @property
    def n(self) -> int:
        """Channels in all."""
        return int(self.loss.size) - 1

    @property
    def counts(self) -> IntArray:
        """Channels that may be gone, ascending: none, and what leaves a multiple of `align`."""
        kept = np.arange((self.n - 1) // self.align * self.align, 0, -self.align)
        return np.concatenate([[0], self.n - kept]).astype(np.int64)


ChannelRule = Callable[[Sequence[GroupSlot], ChannelCosts, float], IntArray]


def share_channels(
    slots: Sequence[GroupSlot], costs: ChannelCosts, share: float, rule: str
) -> IntArray:
    """Return how many channels of each group go, so that `share` of the costs is saved.

    Parameters
    ----------
    slots
        The groups. Not modified.
    costs
        What the network costs without some channels.
    share
        Of what the parts cost that the groups have a share in; in [0, 1).
    rule
        Name in CHANNEL_RULES.

    Raises
    ------
    ConfigError
        When not even one step of every group saves so much.
    """
    check_share(slots, costs, share)
    wanted = costs.fixed + (1 - share) * costs.total
    return CHANNEL_RULES[rule](slots, costs, wanted)


def check_share(slots: Sequence[GroupSlot], costs: ChannelCosts, share: float) -> None:
    """Raise ConfigError when not even one step of every group saves such a share.

    Parameters are those of :func:`share_channels`; losses do not matter.
    """
    most = np.asarray([int(slot.counts[-1]) for slot in slots], np.int64)
    least = (costs.left(most) - costs.fixed) / max(costs.total, 1e-300)
    if share > 1 - least:
        raise ConfigError(
            f"sparsity {share:g} leaves a group of channels empty: with one step of each of the "
            f"{len(slots)} groups left, {1 - least:.3f} are gone; ask for less, or lower align"
        )


def share_uniformly(slots: Sequence[GroupSlot], costs: ChannelCosts, wanted: float) -> IntArray:
    """Let the same fraction of every group go: the least that brings the costs to `wanted`."""

    def at(fraction: float) -> IntArray:
        return np.asarray([_nearest(slot, fraction * slot.n) for slot in slots], np.int64)

    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if costs.left(at(middle)) <= wanted else (middle, high)
    return at(high)


def _nearest(slot: GroupSlot, count: float) -> int:
    counts = slot.counts
    return int(counts[np.argmin(np.abs(counts - count))])


def share_by_loss(slots: Sequence[GroupSlot], costs: ChannelCosts, wanted: float) -> IntArray:
    """Let go, step by step, what loses least for what it saves, until the costs are `wanted`.

    A step leads from one corner of a group's lower convex hull of losses to the next, so that no
    dear channel hides cheap ones behind it. What a step saves depends on those before it.
    """
    counts = np.zeros(len(slots), np.int64)
    hulls = [_hull(slot) for slot in slots]
    left = costs.left(counts)
    while left > wanted:
        steps = _next_steps(hulls, counts)
        if not steps:
            break
        tried = np.repeat(counts[None], len(steps), axis=0)
        for row, (group, count) in enumerate(steps):
            tried[row, group] = count
        saved = np.maximum(left - costs.each_left(tried), 1e-300)
        rises = [slots[g].loss[count] - slots[g].loss[counts[g]] for g, count in steps]
        counts = tried[int(np.argmin(rises / saved))]
        left = costs.left(counts)
    return _within_last(slots, costs, wanted, counts)


def _next_steps(hulls: Sequence[IntArray], counts: IntArray) -> list[tuple[int, int]]:
    """Return the counts that each group may be brought to: its next corners.

    Several, as one alone may save nothing where costs are measured times.
    """
    return [
        (group, int(corner))
        for group, (hull, count) in enumerate(zip(hulls, counts, strict=True))
        for corner in hull[hull > count][:AHEAD]
    ]


def _within_last(
    slots: Sequence[GroupSlot], costs: ChannelCosts, wanted: float, counts: IntArray
) -> IntArray:
    """Take back, group by group, what was not needed: the last steps went too far."""
    result: IntArray = counts.copy()
    losses = [-float(slot.loss[c]) for slot, c in zip(slots, counts, strict=True)]
    for group in np.argsort(losses).tolist():
        for fewer in slots[group].counts[::-1].tolist():
            if fewer >= result[group]:
                continue
            tried = result.copy()
            tried[group] = fewer
            if costs.left(tried) > wanted:
                break
            result = tried
    return result


def _hull(slot: GroupSlot) -> IntArray:
    """Return the counts at the corners of the lower convex hull of the losses."""
    corners: list[int] = []
    for count in slot.counts.tolist():
        while len(corners) > 1 and _is_above(slot.loss, corners[-2], corners[-1], count):
            corners.pop()
        corners.append(count)
    return np.asarray(corners, np.int64)


def _is_above(loss: FloatArray, first: int, middle: int, last: int) -> bool:
    """Whether the loss in the middle lies on or above the line between the others."""
    rise = (loss[last] - loss[first]) * (middle - first)
    return bool((loss[middle] - loss[first]) * (last - first) >= rise)


CHANNEL_RULES: Mapping[str, ChannelRule] = MappingProxyType(
    {"uniform": share_uniformly, "global": share_by_loss}
)
