"""Computes second derivatives of the loss in the weights: what the true OBD and OBS go by.

With p the network's own probabilities and g_c the gradient of the loss if the label were c, the
Gauss-Newton matrix of the cross entropy is the mean over samples of ``sum_c p_c g_c g_cᵀ``. In a
network of linear layers, ReLU and max pooling each score is linear in any one weight, piece by
piece; so the diagonal of that matrix is the exact second derivative. Gradients at pre-activations
come from :mod:`onnx_lobs.graph.derivatives`, a backward pass for each class.

OBD: LeCun, Denker, Solla 1989. OBS: Hassibi, Stork 1992; its matrix over all 266,200 weights would
take 283 GB in float32, so it is taken for blocks: a row (the weights of one neuron), or a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.graph.derivatives.losses import cross_entropy
from onnx_lobs.graph.derivatives.observed import observe
from onnx_lobs.graph.derivatives.reverse import append_gradients, gradient_writer
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.source import as_source
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.layer import Layer
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.retraining.opened import open_networks
from onnx_lobs.solvers import Problem, solve
from paper.networks import INPUT, OUTPUT, tensors_of, with_tensors

BATCH = 100
DAMP = 1e-4  # of the mean diagonal; Hassibi and Stork begin with 1e-8 to 1e-4


@dataclass(frozen=True, eq=False)
class ClassGradients:
    """What one batch gives a layer, for one class as the label.

    Parameters
    ----------
    layer
        The layer.
    inputs
        Observations (n, positions, columns).
    gradients
        Of each sample's own loss at the pre-activations, (n, positions, rows).
    label, share
        The class, and the network's probability of it, (n,).
    """

    layer: Layer
    inputs: Array
    gradients: Array
    label: int
    share: Array


def class_gradients(
    model: onnx.ModelProto, images: Array, only: str | None = None
) -> Iterator[ClassGradients]:
    """Yield the gradients of every batch, class and layer, or of the layer of one weight.

    `images` are as many batches of BATCH as they make; a rest is left out.
    """
    opened = open_networks(load_model(as_source(model)), None, PruneConfig())
    layers, _ = find_layers(opened.pruned, LayerFilter(depthwise=True))
    layers = [layer for layer in layers if only in (None, layer.weight)]
    graph = opened.pruned.copied()
    values = observe(graph, {INPUT: images[:BATCH]}, provider=opened.provider)
    writer = gradient_writer(graph)
    shape = values.shapes[OUTPUT]
    loss = cross_entropy(writer, OUTPUT, shape, values.types[OUTPUT], 1)
    uses = {layer.weight: layer.uses[0] for layer in layers}
    wanted = [use.output for use in uses.values()]
    names = append_gradients(graph, writer, {OUTPUT: loss.gradient}, wanted, values).names
    taps = {use.input for use in uses.values()} - {INPUT}
    shown = [*names.values(), *(tap for tap in taps if tap not in names)]
    session = Session(graph.proto, provider=opened.provider, shown=sorted(set(shown) - {OUTPUT}))
    for start in range(0, len(images) - BATCH + 1, BATCH):
        some = images[start : start + BATCH]
        for label in range(shape[1]):
            target = np.zeros(shape, np.float32)
            target[:, label] = 1
            seen = session.run({INPUT: some, loss.target: target})
            share = _softmax(seen[OUTPUT])[:, label]
            for layer in layers:
                use = uses[layer.weight]
                x = some if use.input == INPUT else seen[use.input]
                x = use.observations(x)[0].reshape(BATCH, -1, layer.layout.columns)
                slope = use.outputs(BATCH * seen[names[use.output]])[0]
                slope = slope.reshape(BATCH, -1, layer.layout.rows)
                yield ClassGradients(layer, x, slope, label, share)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: Array = powers / powers.sum(1, keepdims=True)
    return shares


def second_derivatives(model: onnx.ModelProto, images: Array) -> dict[str, FloatArray]:
    """Return d²L/dw² of every weight, in the shape in which it is stored.

    Notes
    -----
    Cost: a forward and a backward pass for each class.
    """
    sums: dict[str, FloatArray] = {}
    layers: dict[str, Layer] = {}
    for part in class_gradients(model, images):
        name = part.layer.weight
        layers[name] = part.layer
        if part.inputs.shape[1] == 1:
            slopes = np.square(part.gradients[:, 0]) * part.share[:, None]
            added = slopes.T @ np.square(part.inputs[:, 0])
        else:
            each = part.gradients.swapaxes(1, 2) @ part.inputs  # a sample's own gradient
            added = np.tensordot(part.share, np.square(each), 1)
        sums[name] = sums.get(name, 0.0) + added.astype(np.float64)
    count = len(images) // BATCH * BATCH
    return {
        name: layers[name].chain.invert(layers[name].layout.from_matrix(total[None] / count))
        for name, total in sums.items()
    }


def saliencies(model: onnx.ModelProto, images: Array) -> dict[str, FloatArray]:
    """Return what OBD says that each weight's removal costs: ``½ h w²``."""
    values = tensors_of(model)
    derivatives = second_derivatives(model, images)
    return {name: 0.5 * h * np.square(values[name]) for name, h in derivatives.items()}


def row_hessians(model: onnx.ModelProto, name: str, images: Array) -> tuple[FloatArray, FloatArray]:
    """Return the loss's Gauss-Newton matrix of each row of one dense layer, its bias let go.

    Returns
    -------
    tuple
        (rows, columns, columns): what is left of a row's matrix once the bias is at its optimum;
        (rows, columns): the change of the bias for a change d of the row is minus its product
        with d.
    """
    squares: list[Array] = []
    inputs: list[Array] = []
    for part in class_gradients(model, images, name):
        added = np.square(part.gradients[:, 0]) * part.share[:, None]
        if part.label == 0:
            inputs.append(part.inputs[:, 0])
            squares.append(added)
        else:
            squares[-1] = squares[-1] + added
    x, weights = np.concatenate(inputs), np.concatenate(squares)
    rows, columns = weights.shape[1], x.shape[1]
    hessians = np.empty((rows, columns, columns))
    means = np.empty((rows, columns))
    for row in range(rows):
        part_sum = max(float(weights[:, row].sum()), np.finfo(np.float32).tiny)
        means[row] = weights[:, row] @ x / part_sum
        away = (x - means[row].astype(np.float32)) * np.sqrt(weights[:, row])[:, None]
        hessians[row] = away.T @ away / len(x)
    return hessians, means


def layer_hessian(model: onnx.ModelProto, name: str, images: Array) -> FloatArray:
    """Return the loss's Gauss-Newton matrix of all weights and biases of one dense layer.

    (rows * (columns + 1),) squared, each row's bias behind its weights.
    """
    total: FloatArray | float = 0.0
    for part in class_gradients(model, images, name):
        wide = np.append(part.inputs[:, 0], np.ones((BATCH, 1), np.float32), axis=1)
        each = part.gradients[:, 0, :, None] * wide[:, None, :] * np.sqrt(part.share)[:, None, None]
        flat = each.reshape(BATCH, -1)
        total = total + (flat.T @ flat).astype(np.float64)
    assert not isinstance(total, float)
    return total / (len(images) // BATCH * BATCH)


def surgeon_by_rows(
    model: onnx.ModelProto, kept: Mapping[str, float], images: Array
) -> onnx.ModelProto:
    """Return the network pruned by OBS, one weight after the other, a matrix for each neuron.

    Parameters
    ----------
    kept
        Share of each layer's weights that stays, by the weight's name; weights (outputs, inputs).
    """
    values = tensors_of(model)
    changed: dict[str, Array] = {}
    for name, share in kept.items():
        weight = values[name].astype(np.float64)
        hessians, means = row_hessians(model, name, images)
        n_prune = weight.size - round(share * weight.size)
        problem = Problem(weight[:, None, :], 2 * hessians, n_prune, damp=DAMP)
        found = solve(problem, "exact-obs").weight[:, 0]
        bias = name.replace("weight", "bias")
        changed[name] = found
        changed[bias] = values[bias] - np.sum((found - weight) * means, axis=1)
    return with_tensors(model, changed)


def surgeon_by_layer(
    model: onnx.ModelProto, name: str, share: float, images: Array
) -> onnx.ModelProto:
    """Return the network with one layer pruned by OBS with the full matrix of that layer."""
    values = tensors_of(model)
    weight, bias = values[name].astype(np.float64), values[name.replace("weight", "bias")]
    rows, columns = weight.shape
    hessian = layer_hessian(model, name, images)
    is_bias = np.arange(len(hessian)) % (columns + 1) == columns
    # biases are not pruned: they are at their optimum for whatever the weights are
    own = hessian[np.ix_(is_bias, is_bias)]
    own += DAMP * np.trace(own) / len(own) * np.eye(len(own))
    mixed = np.linalg.solve(own, hessian[np.ix_(is_bias, ~is_bias)])
    left = hessian[np.ix_(~is_bias, ~is_bias)] - hessian[np.ix_(~is_bias, is_bias)] @ mixed
    n_prune = weight.size - round(share * weight.size)
    flat = weight.reshape(1, 1, -1)
    problem = Problem(flat, left[None] + left.T[None], n_prune, damp=DAMP)
    found = solve(problem, "exact-obs").weight.reshape(-1)
    moved = bias - mixed @ (found - flat.reshape(-1))
    changed = {name: found.reshape(rows, columns), name.replace("weight", "bias"): moved}
    return with_tensors(model, changed)
