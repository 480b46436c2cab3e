"""A result is written later as a run writes it: checked, compared, and never over its source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from budget_networks import chain, data

import onnx_lobs
from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run import save
from onnx_lobs.verbs.prune import PruneResult, prune_file

OPTIONS = {"method": "magnitude", "sparsity": 0.9, "min_weights": 8, "storage": "sparse"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(chain(), path)
    return path


@pytest.fixture
def result(source: Path) -> PruneResult:
    return onnx_lobs.prune(source, data(), **OPTIONS)


def test_the_file_is_that_of_the_command_line(result: PruneResult, source: Path) -> None:
    saved, written = source.with_name("saved.onnx"), source.with_name("written.onnx")
    before = result.model.SerializeToString()
    result.save(saved)
    prune_file(source, written, PruneConfig(**OPTIONS), data=data())
    assert saved.read_bytes() == written.read_bytes()
    assert onnx.load(saved).graph.sparse_initializer
    assert result.model.SerializeToString() == before


def test_nothing_is_replaced_unasked_the_source_never(result: PruneResult, source: Path) -> None:
    kept, other = source.read_bytes(), source.with_name("there.onnx")
    other.touch()
    with pytest.raises(ConfigError, match="exists"):
        result.save(str(other))
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"m\.onnx"):
            result.save(source, overwrite=overwrite)
    assert source.read_bytes() == kept
    result.save(other, overwrite=True)
    onnx.checker.check_model(onnx.load(other))


def test_a_model_given_by_value_is_written_too(tmp_path: Path) -> None:
    result = onnx_lobs.prune(chain(), data(), **OPTIONS)
    result.save(tmp_path / "o.onnx")
    assert (tmp_path / "o.onnx").stat().st_size > 0


def test_a_file_that_computes_something_else_gets_no_name(
    result: PruneResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {o.name: np.full((64, 1), 1e6) for o in result.model.graph.output}

    monkeypatch.setattr(save, "to_compare", lambda *_, **__: Broken())
    with pytest.raises(ModelError, match="differs from the one in memory"):
        result.save(tmp_path / "o.onnx")
    assert not (tmp_path / "o.onnx").exists()


def test_a_notebook_shows_the_report(result: PruneResult) -> None:
    assert result._repr_html_() == result.report._repr_html_()
