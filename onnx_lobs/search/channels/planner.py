"""Chooses the channels that go, for one sparsity or several of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np

from onnx_lobs.allocation.channel_costs import ChannelCosts
from onnx_lobs.allocation.channels import GroupSlot, check_share, share_channels
from onnx_lobs.arrays import IntArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.layers.channels.costs import channel_costs
from onnx_lobs.layers.channels.coupling import CoupledGroup, Coupling
from onnx_lobs.layers.channels.query_key import QueryKey, WholeProduct, find_query_keys
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import has_target
from onnx_lobs.patterns.whole_columns import WholeColumns
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import ChannelsRecord, GroupRecord, PinnedRecord, QueryKeyRecord
from onnx_lobs.run.channels.choice import ChannelChoice, few_samples, open_coupling
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.selection import NothingToPruneError
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.zeros import Choice
from onnx_lobs.search.channels.measure import MeasuredChannels, measure_channels
from onnx_lobs.search.channels.sensitivity import sensitivities
from onnx_lobs.search.channels.times import time_costs
from onnx_lobs.search.channels.widths import FINE, NARROW, timed_align
from onnx_lobs.solvers.channels.swaps import channel_error, swap_channels

NAMED = 12  # pinned groups that a report lists


@dataclass(frozen=True)
class ChannelPlanner:
    """Chooses channels; what it measures, it measures once.

    Parameters
    ----------
    setup
        The run, not pruned.
    coupling
        What goes together.
    products, whole
        Products of queries and keys whose dimensions can go, and those whose have to stay.
    costs
        What the network costs without some channels and dimensions, in the unit of the budget.
    align
        What is kept of groups of NARROW or more is a multiple of, unless the options say it.
    measured
        Measures when it is first asked, and returns the same from then on.
    weights
        Returns what the losses of each group are multiplied by.
    """

    setup: Setup
    coupling: Coupling
    products: tuple[QueryKey, ...]
    whole: tuple[WholeProduct, ...]
    costs: ChannelCosts
    align: int
    measured: Callable[[], MeasuredChannels]
    weights: Callable[[], tuple[float, ...]]

    def limits(self) -> tuple[float, float]:
        """Return the least and the largest share of the costs that can go."""
        most = np.asarray([slot.counts[-1] for slot in self._slots((1.0,) * self._n)], np.int64)
        left = (self.costs.left(most) - self.costs.fixed) / max(self.costs.total, 1e-300)
        return 0.0, 1.0 - left

    @property
    def _n(self) -> int:
        return len(self.coupling.groups) + len(self.products)

    def choose(self, sparsity: float, kind: str | None = None) -> Choice:
        """Return the channels for a share of the costs, as zeros of the layers that read them.

        Parameters
        ----------
        sparsity
            Share of the costs of what can go.
        kind
            Not used: no kinds of allocation are tried.

        Raises
        ------
        ConfigError
            When the groups do not have so much to give.
        """
        measured = self.measured()
        is_uniform = self.setup.config.allocation == "uniform"
        weights = (1.0,) * self._n if is_uniform else self.weights()
        slots = self._slots(weights)
        rule = "uniform" if is_uniform else "global"
        counts = share_channels(slots, self.costs, sparsity, rule)
        swaps = self.setup.config.channel_choice == "obs"
        gone, losses = [], []
        for group, count, curve, readers in zip(
            self.coupling.groups, counts[: len(self.coupling.groups)], measured.curves,
            measured.readers, strict=True,
        ):  # fmt: skip
            chosen = curve.order[:count]
            if swaps:
                chosen = swap_channels(readers, chosen, len(group.channels))
            gone.append(np.asarray(group.channels, np.int64)[chosen])
            losses.append(channel_error(readers, chosen))
        products = [
            each.without(int(count))
            for each, count in zip(measured.products, counts[len(gone) :], strict=True)
        ]
        return self._choice(measured, gone, losses, products, None if is_uniform else weights)

    def _slots(self, weights: Sequence[float]) -> list[GroupSlot]:
        aligns = _aligns(self.setup, self.coupling, self.products, self.align)
        measured = self.measured()
        curves = [each.loss for each in measured.curves]
        curves += [each.loss for each in measured.products]
        triples = zip(weights, curves, aligns, strict=True)
        return [GroupSlot(weight * loss, align) for weight, loss, align in triples]

    def _choice(
        self,
        measured: MeasuredChannels,
        gone: Sequence[IntArray],
        losses: Sequence[float],
        products: Sequence[ReducedProduct],
        weights: Sequence[float] | None,
    ) -> Choice:
        """Return the choice, with the columns that each layer keeps."""
        classes = np.concatenate([*gone, np.zeros(0, np.int64)])
        kept, zeros = {}, {}
        for key, each in measured.layers.items():
            columns = each.gone(classes)
            if columns.any():
                kept[key] = WholeColumns(~columns)
                zeros[key] = kept[key].n_zeros(each.weight.shape[1])
        channels = ChannelChoice(
            self.coupling, tuple(classes.tolist()), MappingProxyType(kept),
            self._record(gone, losses, products, weights),
            tuple(each for each in products if each.kept < each.product.depth),
        )  # fmt: skip
        return Choice(MappingProxyType(zeros), channels=channels)

    def _record(
        self,
        gone: Sequence[IntArray],
        losses: Sequence[float],
        products: Sequence[ReducedProduct],
        weights: Sequence[float] | None,
    ) -> ChannelsRecord:
        coupling = self.coupling
        fewer = [each.product.depth - each.kept for each in products]
        counts = np.asarray([*(each.size for each in gone), *fewer], np.int64)
        before = np.zeros_like(counts)
        macs, bytes_ = (channel_costs(coupling, x, self.products) for x in ("macs", "bytes"))
        spent = self.costs.left(before), self.costs.left(counts)
        known = [None] * len(counts) if weights is None else list(weights)
        of_groups, of_products = known[: len(gone)], known[len(gone) :]
        rows = zip(coupling.groups, counts[: len(gone)], losses, of_groups, strict=True)
        groups = tuple(
            GroupRecord(coupling.name_of(group), len(group.channels),
                        len(group.channels) - int(count), float(loss), weight)
            for group, count, loss, weight in rows
        )  # fmt: skip
        return ChannelsRecord(
            groups,
            (
                *pinned_records(coupling),
                *(PinnedRecord(w.name, w.depth, w.reason) for w in self.whole),
            ),
            str(self.setup.config.budget),
            (spent[0] - spent[1]) / max(self.costs.total, 1e-300),
            (round(macs.left(before)), round(macs.left(counts))),
            (round(bytes_.left(before)), round(bytes_.left(counts))),
            predicted_latency=spent if self.setup.config.budget == "latency" else None,
            products=self._product_records(products, of_products),
        )

    def _product_records(
        self, products: Sequence[ReducedProduct], weights: Sequence[float | None]
    ) -> tuple[QueryKeyRecord, ...]:
        rows = zip(self.measured().products, products, weights, strict=True)
        return tuple(
            QueryKeyRecord(each.product.name, each.product.heads, each.product.depth, reduced.kept,
                           float(each.loss[each.product.depth - reduced.kept]), weight)
            for each, reduced, weight in rows
        )  # fmt: skip


def make_channel_planner(
    setup: Setup, networks: Networks, scratch: Scratch, progress: Progress, log: Log
) -> ChannelPlanner:
    """Return the planner of a run that removes channels.

    Raises
    ------
    NothingToPruneError
        When no channel can go; it names the largest of those that have to stay, and why.
    ConfigError
        When `align` is larger than every group, the groups do not have so much to give, or the
        latency cannot be measured.
    """
    coupling = open_coupling(setup, networks, log)
    products, whole = find_query_keys(coupling, setup.layers)
    _check(setup, coupling, products, log)
    budget = str(setup.config.budget)
    if budget == "latency":
        feeds = few_samples(setup, networks.result)
        costs, align = time_costs(coupling, feeds, progress, products)
    else:
        costs, align = channel_costs(coupling, budget, products), FINE
    if not has_target(setup.config):  # which stays within the limits by itself
        sizes, aligns = _sizes(coupling, products), _aligns(setup, coupling, products, align)
        slots = [GroupSlot(np.zeros(n + 1), step) for n, step in zip(sizes, aligns, strict=True)]
        check_share(slots, costs, setup.sparsity)

    @cache
    def measured() -> MeasuredChannels:
        return measure_channels(setup, networks, coupling, scratch, progress, products)

    @cache
    def weights() -> tuple[float, ...]:
        return sensitivities(setup, networks, measured(), scratch, progress)

    return ChannelPlanner(setup, coupling, products, whole, costs, align, measured, weights)


def _check(setup: Setup, coupling: Coupling, products: Sequence[QueryKey], log: Log) -> None:
    """Raise an error where no channel can go, and warn where groups are narrower than a step."""
    if not coupling.groups and not products:
        why = "no product of the main graph sums over channels that a weight makes"
        pinned = pinned_records(coupling) or tuple(_records(coupling, coupling.pinned[:1]))
        if pinned:
            first = pinned[0]
            why = f"the largest group that has to stay: {first.channels} of {first.name}"
            why += f", as {first.reason}"
        raise NothingToPruneError(f"nothing to prune: no channels of this model can go; {why}")
    widest = max(_sizes(coupling, products))
    align = setup.config.align
    if align is not None and align >= widest:
        raise ConfigError(
            f"align {align} leaves every group as it is: the widest has {widest} channels; "
            "ask for less"
        )
    narrow = [len(g.channels) for g in coupling.groups if len(g.channels) <= (align or 0)]
    if narrow:
        log.warn(
            f"align {align} leaves {len(narrow)} of {len(coupling.groups)} groups as they are: "
            f"they have {max(narrow)} channels or fewer; lower align to take some of these too"
        )


def _sizes(coupling: Coupling, products: Sequence[QueryKey]) -> list[int]:
    """Return the channels of each group, and behind them the dimensions of each product."""
    groups = [len(group.channels) for group in coupling.groups]
    return groups + [each.depth for each in products]


def _aligns(
    setup: Setup, coupling: Coupling, products: Sequence[QueryKey], usual: int
) -> list[int]:
    """Return what is kept of each group and product is a multiple of."""
    return [_align(setup, n, usual) for n in _sizes(coupling, products)]


def _align(setup: Setup, n: int, usual: int) -> int:
    """Return what is kept of `n` channels is a multiple of."""
    asked = setup.config.align
    if asked is not None:
        return asked
    if setup.config.budget == "latency":
        return timed_align(n, usual)
    return usual if n >= NARROW else 1


def pinned_records(coupling: Coupling) -> tuple[PinnedRecord, ...]:
    """Return the groups that have to stay, those of products first that sum over the most."""
    products = {
        int(i) for read in coupling.reads.values() for i in np.unique(coupling.of(read.ids))
    }
    found = [group for group in coupling.pinned if products & set(group.channels)]
    found.sort(key=lambda group: len(group.channels), reverse=True)
    return tuple(_records(coupling, found[:NAMED]))


def _records(coupling: Coupling, groups: Sequence[CoupledGroup]) -> Iterator[PinnedRecord]:
    for group in groups:
        yield PinnedRecord(coupling.name_of(group), len(group.channels), group.reason)
