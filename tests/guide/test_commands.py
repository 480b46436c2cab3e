"""Every command and every Python block of the README and the guide runs as it stands there.

Commands run in a folder of their own, on a small model and made-up samples that have the names
which the pages use; models of the repository are there under their own names.
"""

from __future__ import annotations

import doctest
import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, run, value
from kinds_of_samples import write_samples
from onnx import helper
from pages import PAGES, ROOT, Block, Command, blocks, commands

import onnx_lobs
from onnx_lobs.cli.main import main

NEEDS_NETWORK = "fetches packages from an index"
NEEDS_GPU = "needs an NVIDIA GPU and onnxruntime-gpu"
CUDA_INSTALLED = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
CUDA_TESTS = "pytest --provider cuda tests/graph/test_gram_nodes.py tests/calibration"
CUDA_RUN = "onnx-lobs models/mnist/lenet-5.onnx -s 0.93 --provider cuda --independent"
NOT_RUN = {
    "pip install .": NEEDS_NETWORK,
    "pip install '.[test]'": NEEDS_NETWORK,
    "pip install '.[images]'": NEEDS_NETWORK,
    CUDA_INSTALLED: NEEDS_NETWORK,
    "pip uninstall -y onnxruntime": "removes what the other tests need",
    "pytest -m 'not slow'": "would run this test again",
    CUDA_TESTS: NEEDS_GPU,
    CUDA_RUN: NEEDS_GPU,
}
WIDTH = "100"  # of the terminal of which the README shows a report
# by commands that stand before
MADE = ("model_pruned.onnx", "two-of-four.onnx", "for-tensorrt.onnx", "small.onnx", "run.toml")
LIMITS = ("--max-drop", "--max-output-error", "--max-bytes", "--min-sparsity")  # may be missed
SIDE, CLASSES = 8, 10
ALL = [command for page in PAGES for command in commands(page)]
FIRST = next(c for c in commands(PAGES[0]) if c.words[0] == "onnx-lobs")  # has a test of its own
WITH_EXAMPLES = [page for page in PAGES if any(b.language == "pycon" for b in blocks(page))]
RUN = [c for c in ALL if c.text not in NOT_RUN and c.text != FIRST.text]


def is_slow(command: Command) -> bool:
    """Whether a command prunes, or reads a trained network."""
    verb = command.words[1] if command.words[0] == "onnx-lobs" else "prune"
    trained = any(word.startswith("models/") for word in command.words)
    return trained or verb not in ("inspect", "evaluate", "config", "guide")


def cases(found: list[Command]) -> list[object]:
    slow = pytest.mark.slow
    return [
        pytest.param(c, id=f"{c.block.label} {c.text}", marks=[slow] if is_slow(c) else [])
        for c in found
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that the pages speak of as the reader's own."""
    folder = tmp_path_factory.mktemp("reader")
    dense = small_network()
    onnx.save(dense, folder / "model.onnx")
    images = normal(1, 64, 1, SIDE, SIDE)
    np.save(folder / "images.npy", images)
    np.savez(folder / "samples.npz", image=images)
    seen = normal(2, 200, 1, SIDE, SIDE)
    labels = run(dense, image=seen)["logits"].argmax(axis=1)
    np.savez(folder / "labelled.npz", image=seen, label=labels)
    patterns = (("model_pruned", "unstructured"), ("two-of-four", "2:4"), ("for-tensorrt", "2:4"))
    for name, pattern in patterns:
        result = onnx_lobs.prune(dense, {"image": images}, method="magnitude", pattern=pattern)
        onnx.save(result.model, folder / f"{name}.onnx")
    small: dict[str, Any] = {"storage": "packed", "values": "int8", "sparsity": 0.9}
    onnx_lobs.prune(dense, {"image": images}, method="magnitude", **small).save(
        folder / "small.onnx"
    )
    with pytest.raises(SystemExit):
        main(["config", "model.onnx", "-d", "samples.npz", "-o", str(folder / "run.toml")])
    write_samples(folder)
    script = next(b for page in PAGES for b in blocks(page) if "def score(" in b.text)
    (folder / "my_score.py").write_text(script.text)
    return folder


def small_network() -> onnx.ModelProto:
    """A network of a convolution and two products, whose layers have the names of the pages."""
    nodes = [
        helper.make_node(
            "Conv", ["image", "w0", "b0"], ["c"], name="conv1", pads=[1] * 4, strides=[2, 2]
        ),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"], name="fc1", transB=1),
        helper.make_node("Relu", ["h"], ["s"]),
        helper.make_node("Gemm", ["s", "w2", "b2"], ["logits"], name="fc2", transB=1),
    ]
    weights = {
        "w0": normal(3, 8, 1, 3, 3),
        "b0": normal(4, 8),
        "w1": normal(5, 16, 2 * SIDE * SIDE),
        "b1": normal(6, 16),
        "w2": normal(7, CLASSES, 16),
        "b2": normal(8, CLASSES),
    }
    shapes = value("image", ["N", 1, SIDE, SIDE]), value("logits", ["N", CLASSES])
    return model(nodes, shapes[:1], shapes[1:], weights)


@pytest.fixture
def desk(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared folder in which the test stands, without what commands make."""
    folder = tmp_path / "desk"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns(*MADE))
    (folder / "models").symlink_to(copied_models(tmp_path), target_is_directory=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", WIDTH)
    monkeypatch.setenv("ONNX_LOBS_COMPILED", "0")  # to compile loops takes longer than to run them
    return folder


def copied_models(folder: Path) -> Path:
    """Return a copy of the repository's models, beside which a command may write."""
    copy = folder / "models"
    for path in (ROOT / "models").rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(ROOT / "models")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    return copy


def exit_code(words: tuple[str, ...]) -> object:
    with pytest.raises(SystemExit) as exit_:
        main(words[1:])
    return exit_.value.code


@pytest.mark.parametrize("command", cases(RUN))
def test_a_command_runs(
    command: Command, desk: Path, prepared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command.words[0] == "onnx-lobs"
    for before, word in itertools.pairwise(command.words):
        if word in MADE and before != "-o":
            shutil.copyfile(prepared / word, desk / word)
    code = exit_code(command.words)
    assert "error:" not in capfd.readouterr().err
    may_miss = set(LIMITS) & set(command.words)
    assert code in ((0, 1) if may_miss else (0,))


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [pytest.param(b, id=b.label) for p in PAGES for b in blocks(p) if b.language == "python"],
)
def test_a_python_block_runs(block: Block, desk: Path, prepared: Path) -> None:
    if re.search('"model_pruned.onnx", "(labelled|samples)', block.text):
        shutil.copyfile(prepared / "model_pruned.onnx", desk / "model_pruned.onnx")
    exec(compile(block.text, block.label, "exec"), {"__name__": "__main__"})


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_the_examples_of_a_page_are_true(page: Path, desk: Path) -> None:
    text = "\n\n".join(b.text for b in blocks(page) if b.language == "pycon")
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    done = doctest.DocTestRunner().run(examples)
    assert done.attempted > 0
    assert done.failed == 0


def test_a_wrong_option_would_be_found(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(("onnx-lobs", "model.onnx", "-d", "samples.npz", "--sparsety", "0.8")) == 2
    assert "error:" in capfd.readouterr().err


def test_no_command_is_left_out_that_the_pages_do_not_have() -> None:
    assert set(NOT_RUN) <= {command.text for command in ALL}


@pytest.mark.slow
def test_the_first_command_prints_what_the_readme_shows(
    desk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """But for numbers, and for which allocation won: those differ from machine to machine."""
    shown = next(b.text for b in blocks(PAGES[0]) if b.language == "text")
    assert exit_code(FIRST.words) == 0
    assert shapes(capfd.readouterr().out) == shapes(shown)


def shapes(text: str) -> list[list[str]]:
    """Return the words of each line with numbers left out, but of the line of the allocation."""
    lines = [re.sub(r"[\d.,]+(e-\d+)?", "#", line).split() for line in text.splitlines()]
    return [line for line in lines if line and line[:2] != ["zeros", "shared"]]
