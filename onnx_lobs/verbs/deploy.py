"""Readies a pruned model for what will run it: what it wants beside the model, what to expect."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig, fits_chip
from onnx_lobs.options.output import OPTIMISE
from onnx_lobs.report.record import DeployRecord, Report
from onnx_lobs.run.one_run import Run
from onnx_lobs.targets.c.emit import write_files
from onnx_lobs.targets.c.text import identifier
from onnx_lobs.targets.chips import Chip, judge_fit, read_chip
from onnx_lobs.targets.expect import FEWER_CHANNELS, PrunedFacts, expectations
from onnx_lobs.targets.mnn import block_channels, compression_params
from onnx_lobs.targets.runtimes import check_options
from onnx_lobs.verbs.c_code import CMade
from onnx_lobs.verbs.c_room import code_of
from onnx_lobs.verbs.export_c import check_folder


@dataclass(frozen=True, eq=False)
class Parcel:
    """What goes beside a model, made before anything is written.

    Parameters
    ----------
    code
        C code and the folder of its files, or None.
    params
        MNN's compression parameters and their file, or None.
    """

    code: tuple[CMade, Path] | None = None
    params: tuple[bytes, Path] | None = None


def check_deploy(config: PruneConfig) -> Chip | None:
    """Return the part that the options name, or None.

    Raises
    ------
    ConfigError
        An option contradicts the target, or the part is unknown.
    """
    if config.target is not None:
        names = ("pattern", "storage", "values", "activations", "sparsity")
        check_options(config.target, {name: getattr(config, name) for name in names})
    if config.optimise != OPTIMISE[0] and config.target != "c":
        raise ConfigError(
            f"--optimise {config.optimise} says how C code stores weights; add --target c"
        )
    chip = None if config.chip is None else read_chip(config.chip)
    if chip is not None and chip.flash is None and fits_chip(config):
        raise ConfigError(
            f"--chip {config.chip} names no flash, which zeros would have to fit; write "
            "flash=1MB,ram=256KB, say, or give a --sparsity"
        )
    return chip


def check_beside(config: PruneConfig, output: Path, *, overwrite: bool) -> None:
    """Refuse files beside the output that stand already.

    Raises
    ------
    ConfigError
        One does, and may not be replaced.
    """
    if config.target == "c":
        check_folder(_folder(output), identifier(output.stem), overwrite=overwrite)
    params = _params(output)
    if _has_params(config) and params.exists() and not overwrite:
        raise ConfigError(
            f"{str(params)!r} exists; allow it to be replaced with --overwrite, or name another "
            "output with -o"
        )


def pack(run: Run, output: Path) -> Parcel:
    """Make what goes beside the model of a run.

    Raises
    ------
    ModelError, DataError, InferenceError
        No C code can be made of it.
    """
    config = run.setup.config
    if config.target == "c":
        return Parcel(code=(code_of(run, output.stem), _folder(output)))
    if _has_params(config):
        channels = block_channels(config.pattern)
        assert channels is not None
        return Parcel(params=(compression_params(channels), _params(output)))
    return Parcel()


def deploy(report: Report, run: Run, parcel: Parcel, chip: Chip | None, output: Path) -> Report:
    """Write what goes beside a model, and return its report with that and what to expect.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    config = run.setup.config
    if config.target is None and chip is None:
        return report
    files: list[Path] = []
    if parcel.code is not None:
        code, folder = parcel.code
        files += write_files(code.files, folder)
    if parcel.params is not None:
        content, path = parcel.params
        _write(path, content)
        files.append(path)
    record = DeployRecord(
        config.target,
        expect=_expect(report, run),
        files=tuple(map(str, files)),
        command=_command(config, output),
        chip=None if chip is None else chip.name,
    )
    if parcel.code is not None:
        code = parcel.code[0]
        record = dataclasses.replace(
            record,
            flash_bytes=code.flash_bytes,
            ram_bytes=code.files.ram_bytes,
            multiplications=code.made.program.multiplications,
        )
    return dataclasses.replace(report, deploy=_with_fit(record, chip, report))


def _with_fit(record: DeployRecord, chip: Chip | None, report: Report) -> DeployRecord:
    """Return the record with whether it fits: the C code, else the file in flash alone."""
    if chip is None:
        return record
    flash, ram = record.flash_bytes, record.ram_bytes
    if flash is None:
        sizes = report.totals.file_bytes
        flash, ram = sizes[1] if sizes is not None else 0, 0
    return dataclasses.replace(record, fit=judge_fit(chip, flash, ram or 0).value)


def _expect(report: Report, run: Run) -> tuple[str, ...]:
    config = run.setup.config
    if config.target is None:
        return ()
    if not report.has_zeros:
        return (FEWER_CHANNELS,)
    return expectations(config.target, _facts(report, run))


def _facts(report: Report, run: Run) -> PrunedFacts:
    pairs = zip(run.setup.layers, report.layers, strict=True)
    pointwise = [x for layer, x in pairs if layer.op == "Conv" and layer.kernel_size == 1]
    weights = sum(record.weights for record in pointwise)
    zeros = sum(record.zeros for record in pointwise)
    config = run.setup.config
    return PrunedFacts(
        report.totals.sparsity,
        config.pattern,
        report.totals.file_bytes,
        config.activations,
        zeros / weights if weights else None,
        fewer_channels=report.channels is not None,
    )


def _command(config: PruneConfig, output: Path) -> tuple[str, ...]:
    """Return what to type next."""
    if config.target == "tensorrt":
        return ("trtexec", f"--onnx={output}", "--sparsity=enable", "--fp16")
    if config.target == "mnn":
        made = output.with_suffix(".mnn")
        words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(output), "--MNNModel", str(made)]
        words += ["--bizCode", "MNN", "--detectSparseSpeedUp"]
        blocks = ["--compressionParamsFile", str(_params(output))]
        return (*words, *(blocks if _has_params(config) else ()))
    return ()


def _has_params(config: PruneConfig) -> bool:
    return config.target == "mnn" and block_channels(config.pattern) is not None


def _params(output: Path) -> Path:
    return output.with_name(f"{output.stem}_mnn_params.bin")


def _folder(output: Path) -> Path:
    return output.with_name(f"{output.stem}_c")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            f"{str(path)!r} cannot be written ({error.strerror}); name another output with -o"
        ) from error
