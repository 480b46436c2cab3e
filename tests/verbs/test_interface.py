"""What two models take in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_lobs import ModelError
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.verbs.interface import common_inputs

FLOAT32 = np.dtype(np.float32)


def test_inputs_in_common_are_fixed_where_one_model_fixes_them() -> None:
    def common(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> object:
        pair = ([InputSpec("x", FLOAT32, shape)] for shape in (one, other))
        return common_inputs(*pair)[0].shape

    assert common(("n", 3, None), (4, 3, 5)) == (4, 3, 5)
    assert common((4, "c"), (None, 3)) == (4, 3)
    assert common(None, (1, 2)) == common((1, 2), None) == (1, 2)
    assert common(None, None) is None
    for one, other in (((1, 2), (1, 3)), ((1, 2), (1, 2, 3))):
        with pytest.raises(ModelError, match="the models take different inputs: 'x' of the dense"):
            common(one, other)
    with pytest.raises(ModelError, match="is float32 None, of the pruned one int64 None"):
        common_inputs([InputSpec("x", FLOAT32, None)], [InputSpec("x", np.dtype(np.int64), None)])
