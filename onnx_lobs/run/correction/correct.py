"""Gives the pruned network the dense network's means and variances, where that helps.

Pruning shifts the means of the values inside a network and shrinks their variances, and the
errors of many layers add up. Behind every pruned layer the mean and the variance of each
channel are measured in both networks on the same calibration data, and the pruned network's
are mapped to the dense one's: in the statistics of a BatchNormalization that is still there, else
in the layer's own rows and bias. Differences and ratios of measured moments are used, never
the measured moments themselves, so that a network in which nothing changed stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from onnx_lobs.arrays import Feeds
from onnx_lobs.calibration.held_out import is_held_out
from onnx_lobs.evaluation.loss import output_loss
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.layers.layer import Layer
from onnx_lobs.memory.store import Overlay, Store
from onnx_lobs.report.record import CorrectionRecord
from onnx_lobs.run.correction.moments import Affine, MomentPair
from onnx_lobs.run.correction.pair_runner import PairRunner
from onnx_lobs.run.correction.sites import LayerSite, NormSite, Site, find_sites
from onnx_lobs.run.correction.write import Written, plan, tensors, undo, write
from onnx_lobs.run.networks import Networks

LEAST_GAIN = 0.05  # a node's moments must come nearer by this part; less is noise
KINDS = {"mean and variance": True, "mean": False}


def correct(
    networks: Networks,
    layers: Sequence[Layer],
    batches: Iterable[Feeds],
    *,
    held_every: int,
    store: Callable[[], Store],
    start: Callable[[str, int], None] = lambda phase, total: None,
    tick: Callable[[int], None] = lambda n: None,
    keep_weights: bool = False,
) -> tuple[CorrectionRecord, list[str]]:
    """Correct the statistics behind pruned layers in the pruned network and in the result.

    Parameters
    ----------
    networks
        The pruned execution copy and the result change; the dense one does not.
    layers
        The layers whose weights changed.
    batches
        Calibration data. A tenth of them is held out: a site is corrected only if that brings
        its moments nearer on the held-out batches too, and all corrections are taken back
        unless the output error falls both on the held-out batches and on all, since a tenth
        can be too few to tell. First means and variances are tried, then means alone.

    keep_weights
        Whether the layers' weights stay as they are, which were rounded.

    Returns
    -------
    CorrectionRecord, notes
        What was done, and which normalisations could not be corrected and why.

    Notes
    -----
    Cost: three forward passes of both networks, five if correcting the variance does not help:
    one to correct, the others to see what it does. Memory: the values that are live at one
    cut, as far as `store` lets them.
    """
    sites, notes = find_sites(networks.pruned, layers)
    if keep_weights:
        sites = tuple(
            replace(site, has_gain=False) if isinstance(site, LayerSite) else site for site in sites
        )
    if not sites or held_every == 0:
        return CorrectionRecord(len(sites)), notes
    before = _errors(networks, batches, held_every)
    if before is None or 0 in before:  # no floating output to judge by, or no error
        return CorrectionRecord(len(sites), before=before and before[0]), notes
    for kind, variance in KINDS.items():
        start(f"correcting {kind}", len(sites))
        done = _pass(networks, layers, sites, batches, held_every, store(), tick, variance=variance)
        after = _errors(networks, batches, held_every) if done else None
        if after is not None and after[0] < before[0] and after[1] < before[1]:
            for written in done:
                write(networks.result, written)
            return _record(kind, sites, done, before[0], after[0]), notes
        for written in done:
            undo(networks.pruned, written)
    return CorrectionRecord(len(sites), before=before[0]), notes


def _record(
    kind: str, sites: Sequence[Site], done: Sequence[Written], before: float, after: float
) -> CorrectionRecord:
    norms = sum(isinstance(written.site, NormSite) for written in done)
    return CorrectionRecord(len(sites), kind, norms, len(done) - norms, before, after)


def _errors(
    networks: Networks, batches: Iterable[Feeds], held_every: int
) -> tuple[float, float] | None:
    """Return the output error on the held-out batches and on all, None without such outputs."""
    dense, pruned = map(networks.open_judged, (networks.dense, networks.pruned))
    held = (feeds for i, feeds in enumerate(batches) if is_held_out(i, held_every))
    found = tuple(
        output_loss(dense.in_front, pruned.in_front, part).change for part in (held, batches)
    )
    del dense, pruned
    release_memory()  # two whole networks, before stages of them run
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _pass(
    networks: Networks,
    layers: Sequence[Layer],
    sites: Sequence[Site],
    batches: Iterable[Feeds],
    held_every: int,
    store: Store,
    tick: Callable[[int], None],
    *,
    variance: bool,
) -> list[Written]:
    """Correct the pruned execution copy site by site, each behind what was corrected before."""
    stops: dict[int, set[str]] = {}
    for site in sites:
        stops.setdefault(site.stop, set()).add(site.value)
    dense, pruned = networks.dense, networks.pruned
    runner = PairRunner(dense, pruned, stops, batches, networks.provider, store)
    runner.mark_changed(_changed(layers))
    done: list[Written] = []
    reached = -1
    for site in sites:
        if site.stop > reached:
            runner.advance(site.stop)
            reached = site.stop
        affine = _choose(runner, site, held_every, variance=variance)
        if affine is not None:
            written = plan(site, affine, pruned, networks.result, store.new())
            write(pruned, written)
            runner.mark_changed(tensors(written))
            done.append(written)
            if isinstance(site, LayerSite):
                _map_values(runner, site, affine)
        tick(1)
    runner.close()
    release_memory()
    return done


def _changed(layers: Sequence[Layer]) -> Iterator[tuple[int, str]]:
    """Yield the tensors (scope, name) that pruning changed."""
    for layer in layers:
        yield layer.scope, layer.weight
        for use in layer.uses:
            if use.bias is not None:
                yield use.bias.scope, use.bias.name


def _choose(runner: PairRunner, site: Site, held_every: int, *, variance: bool) -> Affine | None:
    """Return the correction of a site, or None if it does not help on the held-out batches."""
    if site.value not in runner.differing:
        return None
    fit, held = MomentPair.zeros(site.channels), MomentPair.zeros(site.channels)
    both = zip(runner.of_dense, runner.of_pruned, strict=True)
    for index, (of_dense, of_pruned) in enumerate(both):
        pair = held if is_held_out(index, held_every) else fit
        pair.dense.update(site.observations(of_dense[site.value]))
        pair.pruned.update(site.observations(Overlay(of_pruned, of_dense)[site.value]))
    if not (fit.dense.count and held.dense.count and fit.is_finite and held.is_finite):
        return None
    gains = variance and not (isinstance(site, LayerSite) and not site.has_gain)
    choices = [fit.correction(variance=v) for v in ((True, False) if gains else (False,))]
    best = min(choices, key=held.distance)
    helps = held.distance(best) < (1 - LEAST_GAIN) * held.distance()
    return best if helps else None


def _map_values(runner: PairRunner, site: Site, affine: Affine) -> None:
    """Correct the values that the stage behind the site is about to read."""
    for values in runner.of_pruned:
        x = values[site.value]
        mapped = x * site.along(affine.gain, x.ndim) + site.along(affine.shift, x.ndim)
        values.add({site.value: mapped.astype(x.dtype)})
