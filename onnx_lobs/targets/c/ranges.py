"""Finds the range of every value of a network on calibration data, by onnxruntime's calibrators."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from onnx_lobs.arrays import Feeds
from onnx_lobs.errors import InferenceError
from onnx_lobs.graph.run.session import RUN_ERRORS, one_line
from onnx_lobs.targets.c.network import Network

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
Ranges = Mapping[str, tuple[float, float]]


class _One(CalibrationDataReader):  # type: ignore[misc]
    """Hands over one sample."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds: Feeds | None = feeds

    def get_next(self) -> Any:
        feeds, self._feeds = self._feeds, None
        return feeds


def find_ranges(network: Network, samples: Iterable[Feeds], method: str) -> dict[str, Any]:
    """Return the lowest and highest value of every floating tensor.

    Parameters
    ----------
    network
        Runs one sample at a time.
    samples
        Inputs of one sample each.
    method
        ``minmax``, ``percentile`` or ``entropy``: all that was seen, all but a thousandth of a
        per cent, or what loses the least information.

    Raises
    ------
    InferenceError
        onnxruntime fails on the data.

    Notes
    -----
    Cost: one run per sample. Memory: the values of one sample, and histograms.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # of a value that is never a number; its range is refused where its grid is made
        warnings.filterwarnings("ignore", "All-NaN axis", RuntimeWarning)
        path, shown = Path(scratch) / "network.onnx", Path(scratch) / "shown.onnx"
        onnx.save(network.proto, path)
        calibrator = create_calibrator(
            path, None, str(shown), calibrate_method=_METHODS[method], providers=None
        )
        try:
            for feeds in samples:
                calibrator.collect_data(_One(feeds))
        except RUN_ERRORS as error:
            raise InferenceError(f"onnxruntime failed: {one_line(error)}") from error
        found = calibrator.compute_data()
    ranges = {}
    for name, data in found.items():
        lowest, highest = (float(np.min(data.range_value[0])), float(np.max(data.range_value[1])))
        ranges[name] = (lowest, highest)
    return ranges
