"""Hashes change with whatever a result depends on, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import Array, normal, one_node

from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.resume.fingerprint import (
    data_hash,
    digest,
    model_hash,
    options_hash,
    program_hash,
)


def batches(*arrays: Array, name: str = "x") -> Batches:
    return Batches(lambda i: {name: arrays[i]}, tuple(len(a) for a in arrays), "test")


X = normal(1, 4, 3)
OTHERS = [
    batches(X + 1), batches(X[:2], X[2:]), batches(X.astype(np.float64)), batches(X.reshape(3, 4)),
    batches(X, name="y"), batches(X[:3]), batches(X.view(np.int32)),
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_other_data_have_another_hash(other: Batches) -> None:
    assert data_hash(other) != data_hash(batches(X))
    assert data_hash(batches(X.copy(order="F"))) == data_hash(batches(X))


def test_texts_are_data_too() -> None:
    one, two = (batches(np.array(["a", text], object)) for text in ("b", "c"))
    assert data_hash(one) != data_hash(two)


def test_a_models_hash_sees_its_external_data(tmp_path: Path) -> None:
    proto = one_node("MatMul", {"w": normal(1, 30, 20)})
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    before = model_hash(load_model(path))
    assert before == model_hash(load_model(path))
    data = bytearray((tmp_path / "m.data").read_bytes())
    data[-1] ^= 1
    (tmp_path / "m.data").write_bytes(data)
    assert model_hash(load_model(path)) != before


def test_options_that_are_left_out_do_not_count() -> None:
    one, two = PruneConfig(sparsity=0.5), PruneConfig(sparsity=0.6)
    assert options_hash(one, ()) != options_hash(two, ())
    assert options_hash(one, ("sparsity",)) == options_hash(two, ("sparsity",))


def test_a_digest_tells_apart_what_only_joins_alike() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest(["ab", "c"]), digest("abc")}) == 4
    assert program_hash() == program_hash()


def test_what_compiles_loops_is_a_part_of_the_program(monkeypatch) -> None:
    monkeypatch.setattr("onnx_lobs.linalg.compiled.version", lambda: "numba 1")
    one = program_hash()
    monkeypatch.setattr("onnx_lobs.linalg.compiled.version", lambda: None)
    assert program_hash() != one
