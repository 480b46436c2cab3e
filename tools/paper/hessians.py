"""Times the Hessians of large networks' layers on random inputs: what the paper gives in hours.

No weights of AlexNet, VGG-16 or ResNet-50 and no ImageNet are at hand, and the time of a Hessian
and its inverse depends on neither. Memory is what bounds the largest: fc6 of VGG-16 has 25,088
inputs, which is 2.5 GB in float32 and 5 GB in float64.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack
from scipy.linalg.blas import ssyrk

OBSERVATIONS = 4096  # of a timing; the time of more is in proportion
FLOAT64_LIMIT = 10_000  # inputs, above which a matrix is float32


@dataclass(frozen=True)
class LargeNetwork:
    """A network's layers as (inputs, how many such matrices it has)."""

    name: str
    sizes: tuple[tuple[int, int], ...]


ALEXNET = LargeNetwork("AlexNet", ((363, 1), (1200, 2), (2304, 1), (1728, 4), (9216, 1), (4096, 2)))
VGG_16 = LargeNetwork(
    "VGG-16", ((27, 1), (576, 2), (1152, 2), (2304, 3), (4608, 5), (25088, 1), (4096, 2))
)
RESNET_50 = LargeNetwork(
    "ResNet-50",
    (
        (147, 1), (64, 5), (128, 4), (256, 10), (512, 8), (576, 3), (1024, 7), (1152, 4),
        (2048, 3), (2304, 6), (4608, 3),
    ),
)  # fmt: skip


def time_inverse(size: int, seed: int = 0) -> dict[str, float]:
    """Return CPU seconds of one second-moment matrix and of its inverse, and the peak memory.

    The matrix is summed up from random inputs, damped and inverted by Cholesky's factor, in place.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((OBSERVATIONS, size), dtype=np.float32)
    start = time.process_time()
    matrix = ssyrk(1 / OBSERVATIONS, x, trans=1, lower=1)
    summed = time.process_time() - start
    if size <= FLOAT64_LIMIT:
        matrix = np.asfortranarray(matrix, dtype=np.float64)
    matrix[np.diag_indices(size)] += 0.01
    kind = "d" if matrix.dtype == np.float64 else "s"
    start = time.process_time()
    factor, failed = getattr(lapack, f"{kind}potrf")(matrix, lower=1, overwrite_a=1, clean=0)
    inverse, failed_too = getattr(lapack, f"{kind}potri")(factor, lower=1, overwrite_c=1)
    inverted = time.process_time() - start
    if failed or failed_too:
        raise np.linalg.LinAlgError(f"the matrix of {size} inputs has no inverse")
    mean = float(inverse[np.diag_indices(size)].mean())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"gram": summed, "inverse": inverted, "gigabytes": peak, "mean": mean}


NETWORKS = (ALEXNET, VGG_16, RESNET_50)
