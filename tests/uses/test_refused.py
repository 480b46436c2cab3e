"""Uses that cannot work: one line says what is wrong and what to do, and nothing is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from uses.conftest import Use

USAGE, MODEL, DATA, NO = 2, 3, 4, 1

MODELS = {
    "net.pt -d good.npz": (MODEL, "a file of torch.save; .*torch.onnx.export"),
    "net.safetensors": (MODEL, "weights without a network; .*optimum-cli"),
    "net.tflite": (MODEL, "TensorFlow Lite model; .*tf2onnx"),
    "net.h5": (MODEL, r"Keras or HDF5 file; .*model.export"),
    "net.keras": (MODEL, r"a Keras model; load it and call model.export"),
    "net.zip": (MODEL, "unpack it and give the .onnx file: net/model.onnx is in it"),
    "net.mlmodel": (MODEL, "Core ML model; export the network it was made from"),
    "empty": (MODEL, "is a folder; give the path of the .onnx file"),
    "cut.onnx": (MODEL, "cut short|not valid|no ONNX model"),
    "-": (MODEL, "- stands for stdin, .*write it to a file, and give its path"),
    "nosuch.onnx": (MODEL, "does not exist; check the path of the model"),
    "iamge.onnx": (MODEL, "does not exist; .*did you mean 'image.onnx'"),
    "inspect notes.md": (MODEL, "is a text file; give the .onnx file"),
    "inspect good.npz": (MODEL, "an npz file; that is data: give it with -d"),
    "int8.onnx -d good.npz": (NO, "quantised, .*prune the float model, then quantise it"),
    "m.onnx -d good.npz --min-weights 9999": (NO, "fewer than 9999.*inspect.* lists all"),
    "m.onnx -d good.npz --exclude nosuch": (USAGE, "'nosuch' matches no node .*there are: fc1"),
    "evaluate m.onnx image.onnx -d good.npz": (MODEL, "different inputs.*its own pruned copy"),
    "evaluate m.onnx -d good.npz": (USAGE, "Missing argument 'PRUNED'; see onnx-lobs evaluate"),
}

WORDS = {
    "prnue m.onnx": (USAGE, "'prnue' is no verb and no file; did you mean 'prune'"),
    "inspct m.onnx": (USAGE, "'inspct' is no verb and no file; did you mean 'inspect'"),
    "help": (USAGE, "'help' is no verb and no file; run onnx-lobs --help"),
    "m.onnx image.onnx": (USAGE, "one model, .*one after the other.*evaluate m.onnx image.onnx"),
    "m.onnx good.npz": (USAGE, "'good.npz' is too much: data are given with -d"),
    "image.onnx -d pictures/0.jpg pictures/1.jpg": (USAGE, "put a pattern in quotes"),
    "evaluate m.onnx m.onnx good.npz more": (USAGE, "is too much; see onnx-lobs evaluate --help"),
    "m.onnx -d --overwrite": (USAGE, "data is '--overwrite', which is an option; write a value"),
    "m.onnx -o --overwrite": (USAGE, "output is '--overwrite', which is an option"),
    "m.onnx --device cpu": (USAGE, "--device; did you mean --provider"),
    "m.onnx --target cpu": (USAGE, "target 'cpu' is unknown; choose one of onnxruntime"),
    "m.onnx --metric top1": (USAGE, "--metric; did you mean --score"),
    "m.onnx --dryrun": (USAGE, "--dryrun .*--dry-run"),
    "guide tuor": (USAGE, "topic 'tuor' is unknown; did you mean tour"),
    "guide quantum": (USAGE, "topic 'quantum' is unknown; choose architecture or"),
}

VALUES = {
    "-s 80": "for 80 % write 0.8",
    "-s 1": "at least 0 and below 1; for 80 % write 0.8",
    "-s -0.1": "at least 0 and below 1; for 80 % write 0.8",
    "-s half": "'half' is not understood; write a number such as 0.8 or 80%",
    "--method sparsgpt": "unknown; did you mean 'sparsegpt'",
    "--allocation unifrom": "unknown; did you mean 'uniform'",
    "--pattern 2:4 -s 0.7": "has 0.5 zeros in every layer; leave out --sparsity",
    "--pattern 3:2": "must keep at least 1 and fewer than 2",
    "--pattern dense": "unknown; write unstructured, N:M such as 2:4, or RxC such as 4x1",
    "--provider tensorrt": "not in this onnxruntime; .*use one of .*or install",
    "--samples 0": "must be at least 1",
    "--memory 1": "must be at least 1048576 bytes, e.g. 2GiB",
    "--format zip": "unknown; choose one of dense, sparse",
    "--preset 0-1": "which pictures obey, but the data are arrays; leave it out",
    "--tokenizer tokenizer.json": "which texts obey, but the data are arrays; leave it out",
    "--input-shape x:1x8": "'x', which is no input; choose one of 'features'",
    "--config typo.toml": "option 'sparsty' is unknown; did you mean sparsity",
    "--config nosuch.toml": "nosuch.toml",
    "--report x.pdf": "unknown form; name it .html, .md or .json",
    "--report nosuch/x.html": "the folder .*does not exist; create it",
    "-o nosuch/x.onnx": "does not exist; create it first",
    "-o m.onnx": "would replace the input m.onnx; choose another name",
    "-o m.onnx --overwrite": "would replace the input m.onnx; choose another name",
    "-o image.onnx": "exists; allow it to be replaced with --overwrite",
    "-o /proc/x.onnx": "not writable .*choose another one",
    "--max-drop 0.01": "needs a score of labelled data: give them with --test",
    "--test labelled.npz --max-drop 1": "it allows all; for 1 % write 0.01",
    "--test labelled.npz --max-drop 0.01 -s 0.5": "leave out --sparsity, or the target",
}

PLACES = {
    ("m.onnx", "empty"): "holds nothing that is read .*add some, or give the path of a file",
    ("m.onnx", "nosuch.npz"): "does not exist; check the path",
    ("m.onnx", "god.npz"): "does not exist; check the path; did you mean 'good.npz'",
    ("m.onnx", "m.onnx"): "it is a model, and data are what it takes; give .npz",
    ("m.onnx", "feeds.py"): "name a function in it, FILE.py:FUNCTION, that yields batches",
    ("m.onnx", "feeds.py:nosuch"): "no function 'nosuch'; it has batches",
    ("m.onnx", "narrow.npz"): r"has shape \(48, 5\); the model wants \(\?, 8\)",
    ("m.onnx", "pictures"): "pictures fill one input of 3 or 4 axes, .*give npz files",
    ("m.onnx", "rows.csv"): "takes 8; if one of them is the class, name it with --label-column",
    ("m.onnx", "short.csv"): r"has 3 columns \(a, b, c\), .* takes 8; give the columns",
    ("m.onnx", "texts.txt"): "'features' .*is not filled from texts, .*give npz files",
    ("four.onnx", "pictures"): "Nx4x12x12; give npz files, or FILE.py:FUNCTION",
    ("image.onnx", "sounds"): "sounds fill one input of floats .*give npz files",
    ("image.onnx", "mixed/*"): "not of the kind of .*give one kind at a time",
    ("image.onnx", "nosuch/*.jpg"): "does not exist; check the path",
}

LABELS = {
    ("m.onnx", "good.npz", "good.npz"): "has no labels; add an array `label`",
    ("m.onnx", "good.npz", "one_too_high.npz"): "label 8 is no class index: .*counted from 0",
    ("image.onnx", "pictures", "pictures"): "no labels: .*folder of its own, .*--classes FILE",
    ("image.onnx", "pictures", "strange"): "there are 2 folders, and the model has 10 classes.*"
    "--classes FILE",
}


def refused(use: Use, folder: Path, words: list[str], code: int, message: str) -> None:
    """See that a use ends with a code and a message, and leaves the folder as it was."""
    before = sorted(folder.rglob("*"))
    told = use(*words)
    assert told.code == code
    assert re.search(message, told.error)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("line", [*MODELS, *WORDS])
def test_a_wrong_word_is_refused_with_what_to_write(use: Use, workshop: Path, line: str) -> None:
    refused(use, workshop, shlex.split(line), *{**MODELS, **WORDS}[line])


@pytest.mark.parametrize("line", VALUES)
def test_a_wrong_value_is_refused_with_its_limit(use: Use, workshop: Path, line: str) -> None:
    words = ["m.onnx", "-d", "good.npz", *shlex.split(line)]
    refused(use, workshop, words, USAGE, VALUES[line])


@pytest.mark.parametrize(("model", "data"), PLACES)
def test_data_that_do_not_fit_are_refused(use: Use, workshop: Path, model: str, data: str) -> None:
    code = USAGE if data == "feeds.py:nosuch" else DATA
    refused(use, workshop, [model, "-d", data], code, PLACES[model, data])


@pytest.mark.parametrize(("model", "data", "test"), LABELS)
def test_labels_that_are_missing_or_wrong_are_refused(
    use: Use, workshop: Path, model: str, data: str, test: str
) -> None:
    scaled = ["--preset", "0-1"] if model == "image.onnx" else []
    words = [model, "-d", data, "--test", test, "--allocation", "uniform", *scaled]
    refused(use, workshop, words, DATA, LABELS[model, data, test])
