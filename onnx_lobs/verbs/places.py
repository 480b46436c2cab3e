"""Refuses a run whose outputs would replace what it reads, or each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from onnx_lobs.data.files import find_beside, find_test_beside
from onnx_lobs.data.kinds.table import files_read
from onnx_lobs.graph.files.outputs import check_apart, data_names, model_files, paths_beside
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.deliver import best_effort


def check_places(
    path: Path,
    output: Path,
    config: PruneConfig,
    *,
    data: Any = None,
    test: Any = None,
    report: Sequence[Path] = (),
) -> None:
    """Refuse names of outputs that lead to one place with another name of a pruning run.

    Parameters
    ----------
    path, output
        The model that is read, and the one that is written.
    config
        Names the folders for the cache and for scratch, and a script that scores.
    data, test
        As for :func:`onnx_lobs.verbs.prune.prune_file`.
    report
        Files that the record is written to.

    Raises
    ------
    ConfigError
        The report, the output or its data, the cache's or the scratch folder is the model, its
        data, the calibration or test data, the script, or one of the others; by any link.
    """
    files = model_files(path)
    writes: dict[str, Path] = {}
    for target in dict.fromkeys((output, best_effort(output))):
        word = "the output" if target == output else "the output for a missed target,"
        writes[word] = target
        for number, part in enumerate(paths_beside(target, data_names(target, len(files) - 1))):
            writes[f"{word} data file {number + 1},"] = part
    folders = {"the cache folder": config.cache, "the scratch folder": config.scratch}
    writes |= {word: Path(folder) for word, folder in folders.items() if folder is not None}
    writes |= _named(report)
    reads = what_is_read({"the model": path}, data, test, config.score)
    check_apart(writes, {**reads, **_sides(config)})


def check_report_apart(
    models: dict[str, Path],
    data: Any,
    config: PruneConfig,
    report: Sequence[Path],
    output: Path | None = None,
) -> None:
    """Refuse reports of ``evaluate`` and ``retrain`` that would replace what is read or written.

    Raises
    ------
    ConfigError
        As :func:`check_places`.
    """
    reads = what_is_read(models, data, None, config.score)
    writes = {} if output is None else {"the output": output}
    check_apart({**writes, **_named(report)}, {**reads, **_sides(config)})


def _named(reports: Sequence[Path]) -> dict[str, Path]:
    """Return what the reports are called in messages, with numbers where there are several."""
    if len(reports) == 1:
        return {"the report": reports[0]}
    return {f"report {number + 1}": path for number, path in enumerate(reports)}


def _sides(config: PruneConfig) -> dict[str, Iterable[Path]]:
    """Return the files that options name beside data."""
    named = {"the list of classes": config.classes, "the tokenizer": config.tokenizer}
    return {word: [Path(file)] for word, file in named.items() if file is not None}


def what_is_read(
    models: dict[str, Path], data: Any, test: Any, score: object
) -> dict[str, Iterable[Path]]:
    """Return the files that a run reads, by what they are to it; data may be found beside models.

    Raises
    ------
    ModelError
        A model cannot be read.
    DataError
        A folder of data, or a test set beside the model, cannot be read.
    """
    reads: dict[str, Iterable[Path]] = {}
    for word, path in models.items():
        files = model_files(path)
        reads |= {word: files[:1], f"{word}'s external data": files[1:]}
    first = next(iter(models.values()))
    for word, given, find in (
        ("the data", data, find_beside),
        ("the test data", test, find_test_beside),
    ):
        if isinstance(given, (str, Path)):
            reads[word] = [Path(given), *files_read(given)]
        elif given is None and (beside := find(first)) is not None:
            reads[word] = files_read(beside)  # not the folder, which is the model's
    if isinstance(score, str):
        reads["the script that scores"] = [Path(score.rpartition(":")[0] or score)]
    return reads
