"""Draws the moments of few observations towards what other observations may show.

A Gram matrix of fewer observations than inputs says that most directions never occur. Weights that
are fitted to it may be anything there, and are: of 784 inputs and 30 samples a network that was
pruned to an error of 1e-4 on those samples had .04 on others. So the second moments S are mixed
with a diagonal that holds no direction to be impossible::

    S' = (1 - r) S + r diag(d),        r = max(STRENGTH, 1 / n) * doubt

The ``doubt`` is the share of S that is noise, as Ledoit and Wolf (2004) have it: the squared
distance of S from the true moments over that from its own diagonal. How far two estimates are apart
that come from different samples tells the first, whatever the correlation of observations within a
sample; with one batch only, Chen et al. (2010) have a closed form for independent samples. The
mixture that is nearest to the true moments would take all of the doubt. A refit wants less of it,
since what is not noise in the small eigenvalues is what it lives by: STRENGTH, or the n-th part of
n samples where that is more.

An input's variance in ``d`` is drawn towards that of all inputs, as far as chance makes them
differ, so that an input which has not varied yet is taken to vary later on. And a mean of n samples
is as uncertain as the n-th part of the variance, so that the bias takes up ``(n - 1) / n`` of it,
and one sample says nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.linalg.triangles import bands
from onnx_lobs.solvers.layerwise.sums import LayerSums, add_up
from onnx_lobs.solvers.layerwise.task import LayerTask

# On LeNet-300-100 and LeNet-5 with 1 to 1,000 samples the error on others is flat from .03 to .1,
# and up to twice as large at 1 and at 0
STRENGTH = 0.07
TAILS = 4.0  # of squares: 2 for normal inputs, but those behind a ReLU have longer tails
TINY = np.finfo(np.float64).tiny


def drawn_sums(task: LayerTask, moments: Sequence[Moments]) -> LayerSums:
    """Return the sums of all uses, drawn towards what other observations may show: new arrays.

    Parameters
    ----------
    task
        The layer; its own split into fitted and held-out batches tells the doubt. Not modified.
    moments
        One per use, of some or all of the batches. Not modified.

    Returns
    -------
    LayerSums
        As :func:`~onnx_lobs.solvers.layerwise.sums.add_up`; targets are drawn along, towards the
        layer's own outputs.

    Notes
    -----
    Cost: a few passes over each (d, d) matrix, no product of matrices.
    """
    parts = [
        _drawn(task, use, moments[use]) for use in range(len(moments)) if moments[use].inputs.count
    ]
    if not parts:
        return add_up(moments, task.centred, task.weight)
    first, *others = parts
    for other in others:
        first.add(other)
    if task.read_alone:
        own = first.diagonal.mean(axis=1, keepdims=True)
        first.add_alone(task.read_alone * own, task.weight)
    return first


def _drawn(task: LayerTask, use: int, moments: Moments) -> LayerSums:
    """Return the drawn sums of one use."""
    inputs, centre = moments.inputs, task.centred[use]
    n, samples = inputs.count, task.independent(moments)
    sums = add_up([moments], [centre], task.weight)
    # what the bias leaves of the mean stays in the moments
    if centre:
        sums.add_mean(task.unsure_of_mean(moments) ** 2, moments, task.weight)
    # the diagonal that stands for what was not seen
    variance = sums.diagonal / n
    expected = _expected(variance, samples)
    share = max(STRENGTH, 1 / samples) * _doubt(task, use, inputs)
    sums.mix(share, n * expected, task.weight)
    return sums


def _expected(variance: FloatArray, samples: float) -> FloatArray:
    """Return what other samples may show of each input's variance, (groups, d).

    As far as the variances differ by no more than those of n samples do by chance, they are taken
    to be the same (James and Stein 1961): a normal variance v has the variance 2 v² / n there.
    """
    common = variance.mean(axis=1, keepdims=True)
    differ = ((variance - common) ** 2).mean(axis=1, keepdims=True)
    chance = TAILS * (variance**2).mean(axis=1, keepdims=True) / (samples + TAILS)
    largest = np.maximum(np.maximum(differ, chance), TINY)
    own = np.where(differ > chance, 1 - chance / largest, 0.0)
    return np.asarray(common + own * (variance - common))


def _doubt(task: LayerTask, use: int, inputs: Gram) -> FloatArray:
    """Return the share of noise in the second moments of a use, (groups,), in [0, 1]."""
    fit, held = task.calibration.fit[use].inputs, task.calibration.held[use].inputs
    squares, diagonal = np.zeros(inputs.groups), np.zeros(inputs.groups)
    apart = np.zeros(inputs.groups)
    mean = inputs.mean
    for band in bands(inputs.columns):
        here = _centred(inputs, mean, band)
        squares += np.einsum("gij,gij->g", here, here)
        own = np.einsum("gii->gi", here[:, :, band])
        diagonal += (own**2).sum(axis=1)
        if held.count:
            gap = _centred(fit, mean, band) - _centred(held, mean, band)
            apart += np.einsum("gij,gij->g", gap, gap)
    beside = squares - diagonal  # the squared distance from the diagonal
    if held.count:
        # a mean over a share w of the data has 1 / w of the noise of the whole
        whole = fit.count + held.count
        noise = apart / (whole / fit.count + whole / held.count) * (whole / inputs.count)
    else:
        samples = min(task.n_samples or inputs.count, inputs.count)
        trace = np.einsum("gii->g", inputs.matrix) / inputs.count - (mean**2).sum(axis=1)
        noise = (squares + trace**2) / (samples + 1)
    return np.divide(noise, beside, out=np.ones_like(noise), where=beside > noise)


def _centred(gram: Gram, mean: FloatArray, band: slice) -> FloatArray:
    """Return some rows of the second moments about `mean`, (groups, rows, d), per observation."""
    own, here = gram.mean, mean[:, band]
    moved = gram.matrix[:, band] / gram.count
    moved -= own[:, band, None] * mean[:, None, :] + here[:, :, None] * own[:, None, :]
    moved += here[:, :, None] * mean[:, None, :]
    return moved
