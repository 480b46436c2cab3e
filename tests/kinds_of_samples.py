"""Writes small samples of every kind that is read, and models that take them."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import onnx
from build_onnx import model, normal, value
from onnx import TensorProto, helper
from PIL import Image

SIDE, CLASSES, N = 12, 10, 24
WORDS = ("cold", "hot", "is", "it", "rain", "sun", "warm", "wet")


def write_samples(folder: Path) -> None:
    """Write all that the guide speaks of beside arrays: files, folders, and three models."""
    write_pictures(folder)
    write_sounds(folder)
    write_texts(folder)
    write_table(folder)
    (folder / "feeds.py").write_text(
        "import numpy as np\n\n\ndef batches():\n    rng = np.random.default_rng(0)\n"
        "    for _ in range(4):\n"
        "        yield {'image': rng.random((8, 1, 8, 8), dtype=np.float32)}\n"
    )


def write_pictures(folder: Path) -> None:
    """Write ``pictures/``, ``labelled/CLASS/`` and ``classes.txt``."""
    rng = np.random.default_rng(0)
    names = [f"kind{i}" for i in range(CLASSES)]
    (folder / "classes.txt").write_text("\n".join(names))
    places = [folder / "pictures" / f"{i}.jpg" for i in range(N)]
    places += [folder / "labelled" / names[i % CLASSES] / f"{i}.png" for i in range(2 * CLASSES)]
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (SIDE, SIDE + 4, 3), np.uint8)
        Image.fromarray(pixels).save(path)


def write_sounds(folder: Path) -> None:
    """Write ``sounds/`` of 16 kHz, and ``speech.onnx``, which takes 64 values."""
    rng = np.random.default_rng(1)
    (folder / "sounds").mkdir()
    for i in range(N):
        with wave.open(str(folder / "sounds" / f"{i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(rng.integers(-9999, 9999, 50 + i).astype("<i2").tobytes())
    onnx.save(dense_network("audio", 64), folder / "speech.onnx")


def write_table(folder: Path) -> None:
    """Write ``rows.csv`` with a header and a column of classes, and ``table.onnx``."""
    lines = ["a,b,c,d,e,f,g,h,kind"]
    lines += [
        ",".join(f"{x:.3f}" for x in row) + f",{i % 3}" for i, row in enumerate(normal(2, N, 8))
    ]
    (folder / "rows.csv").write_text("\n".join(lines))
    onnx.save(dense_network("features", 8), folder / "table.onnx")


def dense_network(name: str, width: int) -> onnx.ModelProto:
    """Return a classifier of vectors."""
    nodes = [
        helper.make_node("Gemm", [name, "w1", "b1"], ["h"], name="fc1", transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["scores"], name="fc2", transB=1),
    ]
    weights = {
        "w1": normal(3, 16, width), "b1": normal(4, 16), "w2": normal(5, 8, 16), "b2": normal(6, 8),
    }  # fmt: skip
    return model(nodes, [value(name, ["N", width])], [value("scores", ["N", 8])], weights)


def write_texts(folder: Path) -> None:
    """Write ``texts.txt``, ``tokenizer.json`` and ``encoder.onnx``."""
    rng = np.random.default_rng(3)
    lines = [" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(N)]
    (folder / "texts.txt").write_text("\n".join(lines))
    vocabulary = {word: place for place, word in enumerate(("[PAD]", "[UNK]", *WORDS))}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["hidden"], name="proj"),
    ]
    ids = value("input_ids", ["batch", "length"], TensorProto.INT64)
    weights = {"table": normal(7, len(vocabulary), 16), "w": normal(8, 16, 16)}
    shapes = [ids], [value("hidden", ["batch", "length", 16])]
    onnx.save(model(nodes, *shapes, weights), folder / "encoder.onnx")
