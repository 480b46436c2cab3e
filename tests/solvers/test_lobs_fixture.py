"""L-OBS against the weights and inverse Hessians that the paper's authors stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_lobs.arrays import FloatArray
from onnx_lobs.solvers import Problem, solve
from onnx_lobs.solvers.lobs import RELEASED_DAMP, delete, sensitivities

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LAST_IMAGES = 55_000  # the authors' Hessians come from these training images
SAME = 1e-6  # the stored values came from the same float64 sequence, on another BLAS
INVERSE = 1e-6  # largest difference over largest entry; their A was accumulated in float32

pytestmark = pytest.mark.skipif(
    not (DATA / "lobs_lenet_300_100.npz").exists() or not (DATA / "mnist.npz").exists(),
    reason="../shared/data with the authors' weights and MNIST is not beside the checkout",
)


@pytest.fixture(scope="module")
def stored() -> dict[str, FloatArray]:
    with np.load(DATA / "lobs_lenet_300_100.npz") as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays}


@pytest.fixture(scope="module")
def psi(stored: dict[str, FloatArray]) -> dict[int, FloatArray]:
    """Psi with the bias input of layers 2 and 3, from the dense network on MNIST."""
    with np.load(DATA / "mnist.npz") as arrays:
        inputs = arrays["x_train"][-LAST_IMAGES:].reshape(LAST_IMAGES, -1) / np.float32(255)
    result = {}
    for layer in (2, 3):
        weight = stored[f"w{layer - 1}"].astype(np.float32)
        inputs = np.maximum(inputs @ weight + stored[f"b{layer - 1}"].astype(np.float32), 0)
        wide = np.append(inputs, np.ones((LAST_IMAGES, 1), np.float32), axis=1).astype(np.float64)
        result[layer] = wide.T @ wide / LAST_IMAGES
    return result


def with_bias(stored: dict[str, FloatArray], layer: int, kind: str = "") -> FloatArray:
    """Return (outputs, inputs + 1), the bias as the last column."""
    weight, bias = stored[f"{kind}w{layer}"], stored[f"{kind}b{layer}"]
    return np.concatenate([weight, bias[None, :]]).T


@pytest.mark.parametrize("layer", [2, 3])
def test_inverse_hessian_is_the_authors(stored, psi, layer):
    ours = np.linalg.inv(psi[layer] + RELEASED_DAMP * np.eye(len(psi[layer])))
    theirs = stored[f"hessian_inverse{layer}"]
    assert np.abs(ours - theirs).max() <= INVERSE * np.abs(theirs).max()


@pytest.mark.parametrize("layer", [2, 3])
def test_stored_inverse_gives_the_authors_weights(stored, layer):
    weight = with_bias(stored, layer)[None]
    theirs = with_bias(stored, layer, "pruned_")
    inverse = stored[f"hessian_inverse{layer}"][None]
    n_prune = int(0.8 * stored[f"w{layer}"].size)
    scores = sensitivities(weight, inverse)
    mask = np.ones(weight.size, dtype=bool)
    mask[np.argsort(scores, axis=None)[:n_prune]] = False
    ours = delete(weight, inverse, mask.reshape(weight.shape))[0]
    assert np.array_equal(ours == 0, theirs == 0)
    assert np.abs(ours - theirs).max() <= SAME


@pytest.mark.parametrize("layer", [2, 3])
def test_method_lobs_on_mnist_gives_the_authors_weights(stored, psi, layer):
    weight = with_bias(stored, layer)
    theirs = with_bias(stored, layer, "pruned_")
    n_prune = int(0.8 * stored[f"w{layer}"].size)
    problem = Problem.from_matrix(weight, 2.0 * psi[layer], n_prune)
    solution = solve(problem, "lobs")
    assert np.array_equal(solution.weight[0] == 0, theirs == 0)
    assert np.abs(solution.weight[0] - theirs).max() <= SAME
