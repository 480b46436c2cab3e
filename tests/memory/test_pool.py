"""Memory that is taken again, and never while anybody can see it."""

import gc
from itertools import pairwise

import numpy as np
import pytest

from onnx_lobs.memory.pool import Pool

FLOAT = np.dtype(np.float32)


def test_memory_is_taken_again_once_the_array_is_gone() -> None:
    pool = Pool()
    array = pool.take((4, 5), FLOAT)
    assert (array.shape, array.dtype) == ((4, 5), FLOAT)
    place = array.ctypes.data
    del array
    assert pool.take((10, 2), FLOAT).ctypes.data == place
    assert pool.nbytes == 80


@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[1:2, 3], lambda a: a.T.reshape(-1), lambda a: memoryview(a)]
)
def test_memory_that_can_be_seen_is_not_taken(view) -> None:
    pool = Pool()
    array = pool.take((4, 5), FLOAT)
    array[:] = 7
    seen = view(array)
    del array
    gc.collect()
    others = [pool.take((4, 5), FLOAT) for _ in range(3)]
    for other in others:
        other[:] = 1
    assert (np.asarray(seen) == 7).all()
    assert not any(np.shares_memory(one, two) for one, two in pairwise(others))


def test_free_blocks_of_other_sizes_are_given_up_before_a_new_one_is_made() -> None:
    pool = Pool()
    kept = pool.take((100,), FLOAT)
    for _ in range(3):
        pool.take((200,), FLOAT)
    assert pool.nbytes == 4 * (100 + 200)
    other = pool.take((300,), FLOAT)
    assert pool.nbytes == 4 * (100 + 300)
    del kept, other


def test_empty_arrays_are_arrays() -> None:
    assert Pool().take((0, 3), FLOAT).shape == (0, 3)
