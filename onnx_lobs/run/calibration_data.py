"""Opens the calibration data of a run: what was given, what lies beside the model, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx_lobs.data.files import find_beside
from onnx_lobs.data.kinds.request import LabelNeed
from onnx_lobs.data.reader import Batches, InputSpec, open_data
from onnx_lobs.data.synthetic import synthetic_batches
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.data import BATCH_SIZE

SYNTHETIC_SAMPLES = 64


def open_calibration(
    path: Path | None,
    inputs: Sequence[InputSpec],
    data: Any,
    config: PruneConfig,
    n_classes: int | None = None,
    labels: LabelNeed = LabelNeed.UNUSED,
) -> tuple[Batches, list[str]]:
    """Open the calibration data given, or found beside the model, or make some up.

    Parameters
    ----------
    path
        Of the model, or None.
    inputs
        Of the model.
    data
        What was given, or None.
    config
        The options.
    n_classes, labels
        As :class:`onnx_lobs.data.kinds.request.Request` has them.

    Returns
    -------
    (Batches, list of str)
        The data, and warnings.

    Raises
    ------
    DataError
        When the data do not fit the model, or none can be made up for it.
    """
    source = data
    if source is None and path is not None:
        source = find_beside(path)
    if source is not None:
        batches = open_data(
            source,
            inputs,
            samples=config.samples,
            batch_size=config.batch_size or BATCH_SIZE,
            seed=config.seed,
            options=config,
            input_shapes=config.input_shapes,
            n_classes=n_classes,
            labels=labels,
        )
        return batches, []
    batches = synthetic_batches(
        inputs,
        samples=config.samples or SYNTHETIC_SAMPLES,
        batch_size=config.batch_size or BATCH_SIZE,
        seed=config.seed,
        input_shapes=config.input_shapes,
    )
    warning = (
        "no calibration data were given or found beside the model: random inputs were used. "
        "The errors below are guesses; give real inputs with -d"
    )
    return batches, [warning]
