"""Names the types of arrays that signatures speak of, once for the whole package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of any element type: tensors of a model, activations, samples
FloatArray = NDArray[np.float64]  # what the solvers compute in
BoolArray = NDArray[np.bool_]  # masks, True where a weight is kept
IntArray = NDArray[np.int64]  # indices and counts
RealArray = NDArray[np.floating[Any]]  # float32 or float64: where speed decides
IndexArray = NDArray[np.integer[Any]]  # positions in a type as small as they fit
Feeds = Mapping[str, Array]  # one batch of inputs by name, or of any values
