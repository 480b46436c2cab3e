"""What a prepared model of the zoo is, and how its outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime as ort

Arrays: TypeAlias = Mapping[str, np.ndarray]
Runner: TypeAlias = ort.InferenceSession | Callable[[dict[str, np.ndarray]], Arrays]


@dataclass(frozen=True)
class ZooModel:
    """One real model with its calibration samples, its test samples and its task's score.

    Attributes
    ----------
    name : str
        One of ``zoo.NAMES``.
    path : Path
        The dense ONNX file.
    calibration : dict of str to ndarray
        Preprocessed samples by ONNX input name, first axis = samples.
    test : dict of str to ndarray
        Preprocessed test samples by ONNX input name, ``labels``, and what else the score needs.
    hits : callable
        ``hits(runner)``: bool, whether each test sample comes out right. The runner is an
        onnxruntime session or a function from a feed (arrays by input name) to the outputs by
        output name.
    """

    name: str
    path: Path
    calibration: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    hits: Callable[[Runner], np.ndarray]

    def score(self, runner: Runner) -> float:
        """Return the share of test samples that come out right, in [0, 1]."""
        return float(self.hits(runner).mean())


def save(stem: Path, calibration: Arrays, test: Arrays) -> None:
    """Write ``STEM_calibration.npz`` and ``STEM_test.npz``, compressed."""
    for part, arrays in (("calibration", calibration), ("test", test)):
        target = stem.with_name(f"{stem.name}_{part}.npz")
        np.savez_compressed(target, **arrays)  # type: ignore[arg-type]  # NumPy's stub, not us


def open_session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """Open an ONNX file in onnxruntime on the CPU with a fixed number of threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def predict(runner: Runner, feeds: Arrays, output: str, batch: int = 16) -> np.ndarray:
    """Run all samples in batches and return one output for all of them.

    Parameters
    ----------
    runner : Runner
        An onnxruntime session, or a function from a feed to the outputs by name.
    feeds : mapping of str to ndarray
        Arrays by input name with equal first axes, of at least one sample.
    output : str
        The output's name.
    batch : int
        Samples per run.

    Returns
    -------
    ndarray
        The output, batches concatenated along the first axis.
    """
    count = len(next(iter(feeds.values())))
    parts = []
    for start in range(0, count, batch):
        feed = {name: array[start : start + batch] for name, array in feeds.items()}
        if isinstance(runner, ort.InferenceSession):
            parts.append(np.asarray(runner.run([output], feed)[0]))
        else:
            parts.append(np.asarray(runner(feed)[output]))
    return np.concatenate(parts)
