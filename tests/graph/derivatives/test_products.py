"""Derivatives of MatMul and Gemm, over all forms of their operands."""

from __future__ import annotations

import itertools

import pytest
from build_onnx import normal
from finite_differences import check_node

Shape = tuple[int, ...]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((3, 4), (4, 2)),
        ((2, 3, 4), (4, 2)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((4,), (4, 2)),
        ((3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (4,)),
    ],
)
def test_matmul_of_all_ranks(one: Shape, other: Shape) -> None:
    check_node("MatMul", [normal(1, *one), normal(2, *other)], (0, 1))


@pytest.mark.parametrize(("ta", "tb"), list(itertools.product((0, 1), (0, 1))))
@pytest.mark.parametrize("bias", [(5,), (3, 1), (1,), (3, 5)])
def test_gemm_of_all_forms(ta: int, tb: int, bias: Shape) -> None:
    a, b = normal(1, 3, 4), normal(2, 4, 5)
    operands = [a.T.copy() if ta else a, b.T.copy() if tb else b, normal(3, *bias)]
    check_node("Gemm", operands, (0, 1, 2), transA=ta, transB=tb, alpha=0.7, beta=1.3)
