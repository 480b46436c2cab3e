"""A scratch folder goes with its run: at the end, on exceptions and signals, after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.memory import scratch as scratch_module
from onnx_lobs.memory.scratch import PREFIX, Scratch, interruptible

CHILD = """
    import signal, sys, time
    # a shell lets its background jobs ignore it, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from onnx_lobs.memory.scratch import Scratch, interruptible
    with interruptible():
        scratch = Scratch(sys.argv[1])
        try:
            scratch.new_file().write_bytes(b"much")
            print("ready", flush=True)
            time.sleep(60)
        finally:
            scratch.close()
"""


def start_child(base: Path) -> subprocess.Popen[bytes]:
    """Start a program that holds a scratch folder, and wait until it does."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(base)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.stdout.close()
    return child


def test_the_folder_is_made_when_it_is_needed_and_private(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    assert not list(tmp_path.iterdir())
    first, second = scratch.new_file(), scratch.new_file()
    assert first != second
    assert first.parent.stat().st_mode & 0o777 == 0o700
    scratch.close()
    scratch.close()
    assert not list(tmp_path.iterdir())


def test_a_forgotten_folder_goes_with_its_object(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.new_file().write_bytes(b"x")
    del scratch
    assert not list(tmp_path.iterdir())


def test_a_released_folder_lives_as_long_as_its_heir(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    file = scratch.new_file()
    file.write_bytes(b"x")
    heir = scratch.release()
    scratch.close()
    del scratch
    assert file.exists()
    del heir
    assert not list(tmp_path.iterdir())


def test_releasing_nothing_makes_nothing(tmp_path: Path) -> None:
    Scratch(tmp_path).release().close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    child = start_child(tmp_path)
    child.kill()
    child.wait()
    assert len(list(tmp_path.iterdir())) == 2
    Scratch(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_signals_leave_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    child = start_child(tmp_path)
    child.send_signal(number)
    assert child.wait() == code
    assert not list(tmp_path.iterdir())


def test_folders_of_living_runs_and_foreign_ones_stay(tmp_path: Path) -> None:
    living = Scratch(tmp_path)
    kept = living.new_file()
    kept.write_bytes(b"x")
    foreign = tmp_path / f"{PREFIX}foreign"
    foreign.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    Scratch(tmp_path)
    assert kept.exists()
    assert foreign.exists()
    assert (tmp_path / f"{PREFIX}link").exists()


@pytest.mark.parametrize("step", ["mkstemp", "fdopen", "finalize"])
def test_a_signal_while_the_folder_is_made_waits_until_it_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It comes right after each step, when the lock's file is there and nothing knows of it."""
    module = {"mkstemp": "tempfile", "fdopen": "os", "finalize": "weakref"}[step]
    owner = getattr(scratch_module, module)
    make = getattr(owner, step)

    def interrupted(*args: object, **options: object) -> object:
        made = make(*args, **options)
        signal.raise_signal(signal.SIGINT)
        return made

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        scratch = Scratch(tmp_path)
        monkeypatch.setattr(owner, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = scratch.folder
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        scratch.close()
        assert not list(tmp_path.iterdir())
    finally:
        signal.signal(signal.SIGINT, former)


def test_a_handler_of_the_program_is_not_touched() -> None:
    def own(number: int, frame: object) -> None: ...

    old = signal.signal(signal.SIGTERM, own)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, old)
    with interruptible(), pytest.raises(SystemExit, match="143"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_base_that_is_not_there_or_not_writable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; create it first"):
        Scratch(tmp_path / "nowhere")
    base = tmp_path / "gone"
    base.mkdir()
    scratch = Scratch(base)
    base.rmdir()
    with pytest.raises(ConfigError, match=r"cannot be written to .*free disk space"):
        scratch.new_file()


def test_a_folder_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch(tmp_path)
    monkeypatch.setattr(scratch_module, "_try_lock", lambda file: False)
    with pytest.raises(ConfigError, match="a new file is locked"):
        scratch.new_file()
    assert not list(tmp_path.iterdir())


def test_only_the_main_thread_handles_signals() -> None:
    handlers: list[object] = []

    def enter() -> None:
        with interruptible():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]


def test_a_lock_without_its_folder_is_removed_unless_it_is_held(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}left.lock").touch()
    held = (tmp_path / f"{PREFIX}held.lock").open("w+b")
    assert scratch_module._try_lock(held)
    scratch_module.remove_dead(tmp_path, PREFIX)
    assert [path.name for path in tmp_path.iterdir()] == [f"{PREFIX}held.lock"]
    held.close()


@pytest.mark.parametrize("moment", ["before it is held", "while it is removed"])
def test_a_new_lock_that_is_taken_for_a_dead_ones_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    try_lock, n_tried = scratch_module._try_lock, 0

    def meddle(file: BinaryIO) -> bool:
        nonlocal n_tried
        n_tried += 1
        if n_tried > 1:
            return try_lock(file)
        if moment == "while it is removed":
            return False
        monkeypatch.setattr(scratch_module, "_try_lock", try_lock)
        scratch_module.remove_dead(tmp_path, PREFIX)
        monkeypatch.setattr(scratch_module, "_try_lock", meddle)
        return try_lock(file)

    monkeypatch.setattr(scratch_module, "_try_lock", meddle)
    scratch = Scratch(tmp_path)
    scratch.new_file().write_bytes(b"x")
    monkeypatch.undo()
    Scratch(tmp_path)  # which removes what is dead
    folder = scratch.folder
    assert n_tried == 2
    assert sorted(tmp_path.iterdir()) == [folder, Path(f"{folder}.lock")]


def test_without_any_folder_for_temporary_files_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(scratch_module.tempfile, "gettempdir", none)
    with pytest.raises(ConfigError, match="choose one with --scratch"):
        Scratch()
