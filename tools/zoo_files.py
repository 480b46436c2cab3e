"""Magika on files of this machine: the label is the one that the file's extension promises.

Which files there are differs from machine to machine, so dense scores differ by some points; the
two npz files hold the samples, and with them a benchmark can be repeated anywhere.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path

import numpy as np
from zoo_model import Arrays, Runner, predict, save
from zoo_packages import MAGIKA, member, wheel

INPUT = "bytes"
OUTPUT = "target_label"
HALF = 1024
BLOCK = 4096
PADDING = 256
MIN_SIZE = 64
PER_EXTENSION = 50
MIN_PER_EXTENSION = 4

# Text files are often markup, so those labels count too; .pl is left out, since on a usual machine
# most such files are the tables of Perl's own library.
LABELS = {
    "c": ("c",), "h": ("c", "cpp"), "hpp": ("cpp",), "cpp": ("cpp",), "py": ("python",),
    "pyc": ("pythonbytecode",), "json": ("json",), "html": ("html",), "css": ("css",),
    "js": ("javascript",), "md": ("markdown",), "txt": ("txt", "markdown", "rst"), "rst": ("rst",),
    "xml": ("xml",), "svg": ("svg",), "yaml": ("yaml",), "yml": ("yaml",), "toml": ("toml",),
    "png": ("png",), "gif": ("gif",), "jpg": ("jpeg",), "pdf": ("pdf",), "ttf": ("ttf",),
    "zip": ("zip",), "whl": ("zip",), "gz": ("gzip",), "jar": ("jar",), "so": ("elf",),
    "o": ("elf", "coff"), "npz": ("npz",), "npy": ("npy",), "pem": ("pem",), "csv": ("csv",),
    "sh": ("shell",), "pm": ("perl",), "php": ("php",), "lua": ("lua",),
    "rb": ("ruby",), "go": ("go",), "rs": ("rust",), "java": ("java",), "tcl": ("tcl",),
    "m4": ("m4",), "cmake": ("cmake",), "sql": ("sql",), "cfg": ("ini",), "ini": ("ini",),
    "ps": ("postscript",), "exe": ("pebin",), "bat": ("batch",), "proto": ("proto",),
    "onnx": ("onnx",), "ts": ("typescript",), "awk": ("awk",),
}  # fmt: skip


def read_sample(path: Path) -> np.ndarray:
    """Return the 2048 tokens of a file: 1024 bytes of stripped head, 1024 of stripped tail.

    A short head is padded with 256 at its end, a short tail at its start.
    """
    with path.open("rb") as file:
        head = file.read(BLOCK).lstrip()[:HALF]
        file.seek(max(0, path.stat().st_size - BLOCK))
        tail = file.read(BLOCK).rstrip()[-HALF:]
    sample = np.full(2 * HALF, PADDING, dtype=np.int32)
    sample[: len(head)] = np.frombuffer(head, dtype=np.uint8)
    sample[2 * HALF - len(tail) :] = np.frombuffer(tail, dtype=np.uint8)
    return sample


def list_files(roots: list[Path]) -> dict[str, list[Path]]:
    """Return the files under some folders by extension, sorted, only extensions in ``LABELS``."""
    found: dict[str, set[Path]] = {extension: set() for extension in LABELS}
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                extension = name.rpartition(".")[2]
                if extension in found and extension != name:
                    found[extension].add(Path(folder, name))
    return {extension: sorted(paths) for extension, paths in found.items()}


def local_roots(packages: Path) -> list[Path]:
    """Return the folders to read: Python's own, this environment's, shared data and the wheels."""
    paths = sysconfig.get_paths()
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    roots = [Path(paths[key]) for key in ("stdlib", "purelib", "platlib", "include", "data")]
    roots += [Path(sys.base_prefix), *map(Path, shared.split(os.pathsep)), packages]
    return list(dict.fromkeys(root.resolve() for root in roots if root.is_dir()))


def collect(roots: list[Path], rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Read up to ``PER_EXTENSION`` files with different samples of every extension."""
    samples: list[tuple[str, np.ndarray]] = []
    seen: set[bytes] = set()
    for extension, paths in list_files(roots).items():
        chosen: list[tuple[str, np.ndarray]] = []
        for index in rng.permutation(len(paths)):
            path = paths[index]
            if len(chosen) == PER_EXTENSION:
                break
            if not path.is_file() or path.stat().st_size < MIN_SIZE:
                continue
            sample = read_sample(path)
            if sample.tobytes() not in seen:
                seen.add(sample.tobytes())
                chosen.append((extension, sample))
        if len(chosen) >= MIN_PER_EXTENSION:
            samples += chosen
    return samples


def prepare(packages: Path, _shared: Path, stem: Path) -> None:
    """Write the model; files go in turn to calibration and to test."""
    path = wheel(MAGIKA, packages)
    stem.with_suffix(".onnx").write_bytes(member(path, "/standard_v3_3/model.onnx"))
    config = json.loads(member(path, "/standard_v3_3/config.min.json"))
    index = {label: i for i, label in enumerate(config["target_labels_space"])}
    samples = collect(local_roots(packages), np.random.default_rng(0))
    calibration, test = samples[::2], samples[1::2]
    accepted = np.zeros((len(test), len(index)), dtype=bool)
    for row, (extension, _) in enumerate(test):
        accepted[row, [index[label] for label in LABELS[extension]]] = True
    save(
        stem,
        {INPUT: np.stack([sample for _, sample in calibration])},
        {
            INPUT: np.stack([sample for _, sample in test]),
            "labels": np.array([extension for extension, _ in test]),
            "accepted": accepted,
        },
    )


def hits(test: Arrays, runner: Runner) -> np.ndarray:
    """Whether each file's most probable label is one of its extension's, bool."""
    best = predict(runner, {INPUT: test[INPUT]}, OUTPUT, batch=32).argmax(axis=1)
    return np.asarray(test["accepted"][np.arange(len(best)), best])
