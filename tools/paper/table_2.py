"""Makes Table 2 (Net-Trim against L-OBS on fc2) and the curve of fc1, authors' LeNet-300-100."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx

import onnx_lobs
from onnx_lobs.arrays import Array
from paper.curvature import surgeon_by_layer
from paper.net_trim import net_trim
from paper.networks import (
    AUTHORS,
    INPUT,
    LENET_300,
    Mnist,
    dense_network,
    run_on,
    tensors_of,
    test_error,
    with_tensors,
)
from paper.published import FC1_PRUNED
from paper.rows import CALIBRATION, Maker, Row

NET_TRIM_IMAGES = 5_000
XI_SQUARED = (0.13, 0.62, 0.71)  # of the paper's Net-Trim rows
KEPT = (0.19, 0.074, 0.042, 0.038, 0.034)
METHODS = {"net-trim": False, "lobs": None, "exact-obs": None, "joint": None}  # its own refit


def one_layer(
    model: onnx.ModelProto, mnist: Mnist, layer: str, method: str, kept: float, refit: bool | None
) -> onnx.ModelProto:
    """Return the network with one layer pruned, the others dense."""
    data = {INPUT: mnist.images[:CALIBRATION]}
    options = {} if refit is None else {"refit": refit}
    return onnx_lobs.prune(
        model, data, method=method, include=(layer,), layer_sparsity={layer: 1 - kept},
        allocation="uniform", **options,
    ).model  # fmt: skip


def share_of(model: onnx.ModelProto, layer: str) -> float:
    """Return the share of a layer's weights that are not zero."""
    weight = tensors_of(model)[f"{layer}.weight"]
    return float(np.count_nonzero(weight)) / weight.size


def relative_error(dense: Array, pruned: Array) -> float:
    """Return the squared distance over the squared norm: the paper's xi squared."""
    return float(np.square(pruned - dense, dtype=np.float64).sum() / np.square(dense).sum())


def fc2_row(method: str, kept: float, mnist: Mnist) -> Row:
    """Return a row of Table 2 by a method of the package."""
    dense = dense_network(LENET_300, AUTHORS, mnist.folder)
    pruned = one_layer(dense, mnist, "fc2", method, kept, METHODS[method])
    return _fc2(dense, pruned, method, mnist)


def net_trim_row(xi_squared: float, mnist: Mnist) -> Row:
    """Return a row of Table 2 by Net-Trim's own program, at the error that the paper allows it."""
    dense = dense_network(LENET_300, AUTHORS, mnist.folder)
    values = tensors_of(dense)
    inputs = run_on(dense, mnist.images[:NET_TRIM_IMAGES], "fc1.relu").astype(np.float64)
    weight, bias, _ = net_trim(
        values["fc2.weight"].astype(np.float64), values["fc2.bias"], inputs, np.sqrt(xi_squared)
    )
    pruned = with_tensors(dense, {"fc2.weight": weight, "fc2.bias": bias})
    return _fc2(dense, pruned, f"Net-Trim's program, {xi_squared} allowed", mnist)


def _fc2(dense: onnx.ModelProto, pruned: onnx.ModelProto, method: str, mnist: Mnist) -> Row:
    outputs = [run_on(model, mnist.test_images, "fc2.relu") for model in (dense, pruned)]
    return Row(
        "2", LENET_300, AUTHORS, method, 100 * share_of(pruned, "fc2"), test_error(dense, mnist),
        test_error(pruned, mnist), {}, {"xi squared": relative_error(*outputs)},
    )  # fmt: skip


def fc3_row(kept: float, mnist: Mnist) -> Row:
    """Return the row of fc3 pruned by OBS with the full matrix of its 1,010 weights and biases."""
    dense = dense_network(LENET_300, AUTHORS, mnist.folder)
    pruned = surgeon_by_layer(dense, "fc3.weight", kept, mnist.images[:5000])
    by_outputs = one_layer(dense, mnist, "fc3", "exact-obs", kept, None)
    return Row(
        "fc3", LENET_300, AUTHORS, "OBS, the whole layer's matrix", 100 * share_of(pruned, "fc3"),
        test_error(dense, mnist), test_error(pruned, mnist), {},
        {"exact-obs": test_error(by_outputs, mnist)},
    )  # fmt: skip


def fc1_row(method: str, refit: bool | None, mnist: Mnist) -> Row:
    """Return the curve of a method: accuracy by the share of fc1's weights that went."""
    dense = dense_network(LENET_300, AUTHORS, mnist.folder)
    curve = {}
    for percent in FC1_PRUNED:
        pruned = one_layer(dense, mnist, "fc1", method, 1 - percent / 100, refit)
        curve[str(percent)] = round(1 - test_error(pruned, mnist) / 100, 4)
    return Row("fc1", LENET_300, AUTHORS, method, facts={"accuracy": curve})


FC1_METHODS = {
    "random": False, "magnitude": False, "apoz": False, "lobs": None, "exact-obs": None,
    "joint": None,
}  # fmt: skip


def all_rows() -> dict[str, Maker]:
    """Return what makes the rows, by a name for each."""
    found: dict[str, Maker] = {f"2/Net-Trim {xi}": partial(net_trim_row, xi) for xi in XI_SQUARED}
    for method in METHODS:
        for kept in KEPT:
            found[f"2/{method} {kept}"] = partial(fc2_row, method, kept)
    for kept in (0.7, 0.54, 0.3):
        found[f"fc3/OBS {kept}"] = partial(fc3_row, kept)
    for method, refit in FC1_METHODS.items():
        found[f"fc1/{method}"] = partial(fc1_row, method, refit)
    return found
