"""Models with external data: pruned in a working copy, with the bytes that memory would give."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import initializer, normal

import onnx_lobs
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files import sizes
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.location import is_external
from onnx_lobs.graph.run.session import Session
from onnx_lobs.memory.shares import MemoryShares
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run import deliver, networks, setup
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.other_fits import FEW
from onnx_lobs.run.setup import Setup
from onnx_lobs.verbs import prune as pipeline
from onnx_lobs.verbs.prune import prune_file

TOOL = Path(__file__).parent.parent / "tools" / "make_large.py"
FAST: dict[str, Any] = {"batch_size": 4, "method": "magnitude", "refit": True}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small transformer with external data, and its calibration data."""
    spec = importlib.util.spec_from_file_location("make_large", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    out = tmp_path_factory.mktemp("large")
    tool.make_data(out, 32, 8, 12, 0)
    path: Path = tool.make_model(out, 32, 1, 8, 0)
    return path


def data_of(path: Path) -> str:
    return str(path.with_name("calibration.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("dtype", ["dense", "sparse"])
def test_the_written_model_has_the_bits_that_memory_gives(
    large: Path, tmp_path: Path, sequential: bool, dtype: str
) -> None:
    before = {file.name: file.read_bytes() for file in large.parent.iterdir()}
    options = {**FAST, "sequential": sequential}
    out = tmp_path / "out.onnx"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    config = PruneConfig(storage=dtype, scratch=str(scratch), **options)
    report = prune_file(large, out, config, data=data_of(large))
    assert {file.name: file.read_bytes() for file in large.parent.iterdir()} == before
    assert not list(scratch.iterdir())
    inside = onnx_lobs.prune(onnx.load(large), data_of(large), **options)
    assert [layer.error for layer in report.layers] == [
        layer.error for layer in inside.report.layers
    ]
    feeds = {"x": np.load(data_of(large))["x"]}
    found, expected = Session(out).run(feeds), Session(inside.model).run(feeds)
    assert np.array_equal(found["y"], expected["y"])
    if dtype == "dense":
        written = onnx.load(out)
        for tensor in inside.model.graph.initializer:
            assert np.array_equal(
                initializer(written, tensor.name), initializer(inside.model, tensor.name)
            )


@pytest.mark.slow
def test_no_pruned_weight_is_inside_a_message(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Networks] = []
    real = deliver.write_model

    def look(run: Setup, models: Networks, *args: Any, **options: Any) -> Any:
        seen.append(models)
        for index in (models.dense, models.pruned, models.result):
            for layer in run.layers:
                tensor = index.constant(index.scopes[layer.scope], layer.weight)
                assert tensor is not None
                assert is_external(tensor)
        assert models.dense.folder == large.parent
        assert models.pruned.folder == models.result.folder != large.parent
        return real(run, models, *args, **options)

    monkeypatch.setattr(pipeline, "write_model", look)
    prune_file(large, tmp_path / "out.onnx", PruneConfig(**FAST), data=data_of(large))
    assert len(seen) == 1


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_a_model_beyond_its_share_of_memory_runs_in_stages(
    large: Path, tmp_path: Path, sequential: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=normal(0, FEW, 8, 32))  # so many: one fit, whose error others do not tell
    options = {**FAST, "sequential": sequential}
    plain = onnx_lobs.prune(large, str(data), **options)
    monkeypatch.setattr(
        setup, "share_out", lambda memory: MemoryShares(1000, 1 << 20, 10_000, 1000)
    )
    out = tmp_path / "out.onnx"
    report = prune_file(large, out, PruneConfig(**options), data=str(data))
    for one, other in zip(report.layers, plain.report.layers, strict=True):
        assert one.error == pytest.approx(other.error, rel=1e-3)
        assert one.zeros == other.zeros
    assert report.output.error == pytest.approx(plain.report.output.error, rel=1e-3)


@pytest.mark.slow
def test_what_does_not_fit_a_message_is_returned_with_its_folder(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**FAST, "scratch": str(tmp_path)}
    fits = onnx_lobs.prune(large, data_of(large), **options)
    assert fits.folder == large.parent
    assert not list(tmp_path.iterdir())
    real = pipeline.open_run
    monkeypatch.setattr(
        pipeline, "open_run", lambda *args: real(*args, embed=fits.model.ByteSize() // 2)
    )
    found = onnx_lobs.prune(large, data_of(large), **options)
    assert found.folder is not None
    assert found.folder.is_relative_to(tmp_path)
    assert external_bytes(found.model) > found.model.ByteSize()
    feeds = {"x": np.load(data_of(large))["x"]}
    apart = Session(found.model, folder=found.folder).run(feeds)
    assert np.array_equal(apart["y"], Session(fits.model, folder=fits.folder).run(feeds)["y"])
    del found
    assert not list(tmp_path.iterdir())


def test_no_room_for_the_copy_is_reported(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(networks, "copy_data", full)
    config = PruneConfig(scratch=str(tmp_path), **FAST)
    with pytest.raises(ConfigError, match=r"No space left on device.*--scratch"):
        prune_file(large, tmp_path / "out.onnx", config, data=data_of(large))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_huge_files_are_not_packed_to_see_their_size(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "MOST_GZIP", 1000)
    report = prune_file(large, tmp_path / "o.onnx", PruneConfig(**FAST), data=data_of(large))
    assert report.totals.gzip_bytes is None
    assert report.totals.file_bytes is not None
