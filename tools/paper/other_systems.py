"""Makes the rows of what is no pruning of single weights: compressors, filters, Hessians."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx

import onnx_lobs
from onnx_lobs.arrays import Array, FloatArray
from paper import compressors
from paper.hessians import NETWORKS as LARGE_NETWORKS
from paper.hessians import time_inverse
from paper.networks import (
    AUTHORS,
    INPUT,
    LENET_5,
    LENET_300,
    OURS,
    Mnist,
    dense_network,
    run_on,
    tensors_of,
    test_error,
    with_tensors,
)
from paper.rows import LIGHT_BATCH, STAGE_1, STAGE_2, Maker, Row, by_weight, light, pruned_by

# what a kept weight may take: its value in float32 or 8 bits, at the paper's first or last stage
BUDGETS = {"stage 1, float32": (STAGE_1, 4), "stage 1, 8 bits": (STAGE_1, 1),
           "stage 2, float32": (STAGE_2, 4)}  # fmt: skip
COMPRESSORS = ("low rank", "shared values", "predicted", "predicted, fitted")
SHARES = (0.5, 0.8)  # of multiplications that go with filters
FILTER_STEPS = 200
ROW_IMAGES = 5_000


def input_moments(model: onnx.ModelProto, mnist: Mnist) -> dict[str, FloatArray]:
    """Return the second moments of the inputs of every dense layer, by its weight's name."""
    found = {}
    for node in model.graph.node:
        if node.op_type == "Gemm":
            x = run_on(model, mnist.images[:ROW_IMAGES], node.input[0]).astype(np.float64)
            found[node.input[1]] = x.T @ x / len(x)
    return found


def kernel_of(weight: Array, moments: FloatArray | None) -> FloatArray:
    """Return what predicts a layer's weights: nearness of pixels, else moments of its inputs.

    A layer that reads the image, and a convolution's filters, are smooth; all others have inputs
    without places.
    """
    if weight.ndim == 4:
        near = compressors.distance_kernel(*weight.shape[2:])
        return np.kron(np.eye(weight.shape[1]), near)
    if weight.shape[1] == 28 * 28 or moments is None:
        return compressors.distance_kernel(28, 28)
    return moments


def compressed(
    name: str, weight: Array, n_bytes: int, moments: FloatArray | None
) -> tuple[Array, str]:
    """Return a weight compressed to a number of bytes, and a word on how."""
    if name == "low rank":
        shrink = compressors.low_rank_filters if weight.ndim == 4 else compressors.low_rank
        return shrink(weight, n_bytes), ""
    matrix = weight.reshape(len(weight), -1)
    if name == "shared values":
        found, word = compressors.shared_values(matrix, n_bytes)
        return found.reshape(weight.shape), word
    fitted = moments if name.endswith("fitted") else None
    kernel = kernel_of(weight, moments)
    return compressors.predicted(matrix, kernel, n_bytes, hessian=fitted).reshape(weight.shape), ""


def budget_row(network: str, origin: str, budget: str, mnist: Mnist) -> Row:
    """Return the errors of every compressor at the bytes that the pruned layers take."""
    dense = dense_network(network, origin, mnist.folder)
    stages, value_bytes = BUDGETS[budget]
    options = {"values": "int8"} if value_bytes == 1 else {}
    pruned = pruned_by(dense, mnist, "joint", stages[network], **options)
    values, moments = tensors_of(dense), input_moments(dense, mnist)
    room = {
        name: compressors.sparse_bytes(
            values[name].size, round(share * values[name].size), value_bytes
        )
        for name, share in by_weight(dense, stages[network]).items()
    }
    errors, codebooks = {"joint": test_error(pruned, mnist)}, {}
    for name in COMPRESSORS:
        changed = {}
        for weight, n_bytes in room.items():
            given = values[weight], n_bytes, moments.get(weight)
            changed[weight], word = compressed(name, *given)
            codebooks |= {weight: word} if word else {}
        errors[name] = test_error(with_tensors(dense, changed), mnist)
    total = sum(values[name].size for name in room)
    kept = sum(
        round(share * values[n].size) for n, share in by_weight(dense, stages[network]).items()
    )
    facts = {"bytes": sum(room.values()), "of": 4 * total, "errors": errors, "codebooks": codebooks}
    return Row(
        "bytes", network, origin, budget, 100 * kept / total, test_error(dense, mnist),
        errors["joint"], {}, facts,
    )  # fmt: skip


def filter_row(choice: str, share: float, mnist: Mnist) -> Row:
    """Return LeNet-5 without some filters, chosen by a score; `obs` refits what reads them."""
    dense = dense_network(LENET_5, OURS, mnist.folder)
    refit = {} if choice == "obs" else {"refit": False}
    pruned = onnx_lobs.prune(
        dense, {INPUT: mnist.images[:ROW_IMAGES]}, pattern="channels", sparsity=share,
        channel_choice=choice, **refit,
    )  # fmt: skip
    after = light(pruned.model, mnist, FILTER_STEPS, LIGHT_BATCH[LENET_5])
    channels = pruned.report.channels
    assert channels is not None
    before, now = channels.multiplications
    return Row(
        "filters", LENET_5, OURS, choice, None, test_error(dense, mnist),
        test_error(pruned.model, mnist), {str(FILTER_STEPS): test_error(after, mnist)},
        {"multiplications": round(now / before, 4), "share": share},
    )  # fmt: skip


def hessian_row(size: int, mnist: Mnist) -> Row:
    """Return the times of one matrix of second moments and its inverse."""
    return Row("hessian", "", "", str(size), facts=time_inverse(size))


def all_rows() -> dict[str, Maker]:
    """Return what makes the rows, by a name for each."""
    found: dict[str, Maker] = {}
    for network, origin in ((LENET_300, AUTHORS), (LENET_5, OURS)):
        for budget in BUDGETS:
            key = f"bytes/{network}/{budget}"
            found[key] = partial(budget_row, network, origin, budget)
    for share in SHARES:
        for choice in ("obs", "l1", "l2", "apoz", "random"):
            found[f"filters/{choice} {share}"] = partial(filter_row, choice, share)
    for size in sorted({size for network in LARGE_NETWORKS for size, _ in network.sizes}):
        found[f"hessian/{size}"] = partial(hessian_row, size)
    return found
