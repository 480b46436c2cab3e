"""Broken and hostile inputs end in an error of ours: no other exception, hang, crash or memory.

The mutants run in a process of their own, which a crash would end. To see one alone::

    python tests/test_hostile.py FOLDER models 17
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import mutants
import numpy as np
import onnxruntime
import pytest

import onnx_lobs
from onnx_lobs.errors import LobsError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.verbs.inspect import inspect
from onnx_lobs.verbs.prune import prune_file

SECONDS = 10  # a mutant takes some hundredths of a second
MEMORY = 6 << 30  # bytes of address space; sound runs of these sizes need 2 GiB
FAST = {"method": "magnitude", "allocation": "uniform", "samples": 4, "min_weights": 1}


def hostile_model(folder: Path, number: int) -> None:
    path = folder / "m.onnx"
    path.write_bytes(mutants.model_bytes(number))
    attack(folder, path, None, number)


def hostile_external(folder: Path, number: int) -> None:
    attack(folder, mutants.external_model(folder, number), folder / "sound.npz", number)


def hostile_data(folder: Path, number: int) -> None:
    attack(folder, folder / "sound.onnx", mutants.data_file(folder, number), number)


def hostile_cache(folder: Path, number: int) -> None:
    """Break one entry; the run is the same, with the same result."""
    rng = random.Random(number)
    config = PruneConfig(**FAST, cache=str(folder / "cache"))
    source, data = folder / "sound.onnx", folder / "sound.npz"
    prune_file(source, folder / "one.onnx", config, data=data, overwrite=True)
    entry = rng.choice(sorted((folder / "cache").iterdir()))
    kind = rng.choice(("bytes", "bytes", "pipe", "zero", "other"))
    content = entry.read_bytes()
    entry.unlink()
    if kind == "pipe":
        os.mkfifo(entry)
    elif kind == "zero":
        entry.symlink_to("/dev/zero")
    elif kind == "other":
        entry.write_bytes(
            rng.choice(sorted((folder / "cache").glob("*.npz")) or [source]).read_bytes()
        )
    else:
        entry.write_bytes(mutants.broken(content, rng))
    prune_file(source, folder / "two.onnx", config, data=data, overwrite=True)
    assert (folder / "one.onnx").read_bytes() == (folder / "two.onnx").read_bytes()


ATTACKS: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "models": (hostile_model, 240),
    "external": (hostile_external, 60),
    "data": (hostile_data, 80),
    "cache": (hostile_cache, 16),
}


def attack(folder: Path, path: Path, data: Path | None, number: int) -> None:
    """Inspect and prune; errors of ours are what is expected."""
    try:
        inspect(path)
    except LobsError as error:
        check(error)
    try:
        if number % 2:
            onnx_lobs.prune(path, None if data is None else str(data), **FAST)
        else:
            output = folder / "o.onnx"
            prune_file(path, output, PruneConfig(**FAST), data=data, overwrite=True)
    except LobsError as error:
        check(error)


def check(error: LobsError) -> None:
    text = str(error)
    assert "defect of onnx-lobs" not in text, text
    assert "\n" not in text.strip(), text


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders, no alarm")
@pytest.mark.parametrize("kind", ATTACKS)
def test_every_mutant_is_taken_or_refused(tmp_path: Path, kind: str) -> None:
    left = list(range(ATTACKS[kind][1]))
    while left:
        done = work(tmp_path, kind, left)
        if done.returncode == 0:
            assert json.loads(done.stdout.splitlines()[-1]) == []
            return
        last = int(done.stdout.splitlines()[-1].split()[1])
        # onnxruntime alone may end a process; that is not ours to mend
        assert kind == "models", done.stdout[-300:] + done.stderr[-3000:]
        assert work(tmp_path, "plain", [last]).returncode < 0, f"{last}: {done.stderr[-3000:]}"
        left = left[left.index(last) + 1 :]


def work(folder: Path, kind: str, numbers: list[int]) -> subprocess.CompletedProcess[str]:
    """Run mutants in another process."""
    command = [sys.executable, "-X", "faulthandler", __file__, str(folder), kind]
    command += [str(number) for number in numbers]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def run_plainly(_: Path, number: int) -> None:
    """Do with a mutant what onnxruntime does without us."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(mutants.model_bytes(number), options)
    shapes = {
        i.name: [n if isinstance(n, int) else 2 for n in i.shape] for i in session.get_inputs()
    }
    session.run(None, {name: np.ones(shape, np.float32) for name, shape in shapes.items()})


def main(folder: Path, kind: str, numbers: list[int]) -> None:
    """Run mutants; the last line printed lists those that were not refused as they should be."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _late)
    wrong = []
    for number in numbers:
        box = folder / str(number)
        shutil.rmtree(box, ignore_errors=True)  # of one that crashed
        box.mkdir(parents=True)
        mutants.surroundings(box)
        print(f"{kind} {number}", flush=True)
        signal.alarm(SECONDS)
        try:
            (run_plainly if kind == "plain" else ATTACKS[kind][0])(box, number)
        except Exception:  # noqa: BLE001  # every kind is a finding
            wrong.append((number, traceback.format_exc()[-1500:]))
        signal.alarm(0)
        shutil.rmtree(box)
    print(json.dumps(wrong))


def _late(*_: object) -> None:
    raise TimeoutError(f"not done after {SECONDS} seconds")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(number) for number in sys.argv[3:]])
