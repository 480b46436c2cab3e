"""A run drops empty channels without loss on request, of a model pruned before too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import run
from coupled_networks import between, samples
from onnx import ModelProto

import onnx_lobs
from onnx_lobs.arrays import Array
from onnx_lobs.cli.main import main
from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.report.channels import dropped_rows
from onnx_lobs.report.record import DroppedRecord

SAME = 4e-6  # of the largest output: constants are added in another order


def pruned(proto: ModelProto, **options: Any) -> onnx_lobs.PruneResult:
    batches = [{"x": samples(n=8, seed=seed)["x"]} for seed in range(4)]
    return onnx_lobs.prune(proto, batches, method="magnitude", allocation="uniform", **options)


def with_zero_filters() -> ModelProto:
    """Return a network in which five filters give a constant."""
    proto = between(nets.relu, kernel=1)
    tensor = next(t for t in proto.graph.initializer if t.name == "c0")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[[0, 3, 4, 8, 11]] = 0.0
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, "c0"))
    return proto


def output(proto: ModelProto) -> Array:
    return run(proto, **samples(n=3, seed=9))["y"]


def check_same(one: Array, other: Array) -> None:
    assert np.abs(one - other).max() <= SAME * np.abs(one).max()


def test_nothing_but_empty_channels_goes_at_sparsity_zero() -> None:
    proto = with_zero_filters()
    result = pruned(proto, sparsity=0.0, drop_empty=True)
    dropped = result.report.dropped
    assert dropped is not None
    assert dict(dropped.channels) == {"c0": 5}
    assert dropped.multiplications == (2 * 36 * 12 * (27 + 4), 2 * 36 * 7 * (27 + 4))
    assert result.model.ByteSize() < proto.ByteSize()
    check_same(output(proto), output(result.model))


def test_what_single_weights_leave_empty_goes_after_pruning() -> None:
    proto = between(nets.relu, kernel=1)
    wide, slim = (pruned(proto, sparsity=0.97, drop_empty=drop) for drop in (False, True))
    assert slim.report.dropped is not None
    assert slim.report.dropped.count >= 2  # ten weights are left for twelve filters
    assert wide.report.dropped is None
    check_same(output(wide.model), output(slim.model))


@pytest.mark.slow
def test_the_command_line_drops_and_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "net.onnx", tmp_path / "small.onnx"
    onnx.save(with_zero_filters(), source)
    np.savez(tmp_path / "data.npz", x=samples(n=32)["x"])
    words = [str(source), "-d", str(tmp_path / "data.npz"), "-s", "0", "--drop-empty"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "-o", str(target)])
    assert not ended.value.code
    told = capsys.readouterr().out
    assert "5 dropped without loss" in told
    assert "int8" not in told  # which is refused beside it
    assert target.stat().st_size < source.stat().st_size
    check_same(output(onnx.load(source)), output(onnx.load(target)))


@pytest.mark.slow
def test_it_goes_with_whole_channels() -> None:
    batches = [{"x": samples(n=8, seed=seed)["x"]} for seed in range(4)]
    result = onnx_lobs.prune(
        with_zero_filters(), batches, pattern="channels", sparsity=0.2, align=1, drop_empty=True
    )
    assert result.report.channels is not None
    assert result.report.dropped is not None
    sizes = {t.name: t.dims[0] for t in result.model.graph.initializer}
    assert sizes["c0"] <= 7  # those that are empty cost nothing, so that they go in any case


def test_what_cannot_be_observed_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelError("onnxruntime cannot load the model")

    monkeypatch.setattr("onnx_lobs.run.channels.choice.observe", fail)
    phases: list[str] = []
    with pytest.raises(ModelError, match="cannot load"):
        pruned(
            with_zero_filters(), sparsity=0.0, drop_empty=True,
            progress=lambda phase, *_: phases.append(phase),
        )  # fmt: skip
    assert phases == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"values": "int8"}, "int8: its scales are those of all channels; drop them first"),
        ({"values": "int8", "activations": "int8"}, "int8: its scales"),
        ({"target": "c"}, "int8, which --target c takes: its scales"),
    ],
)
def test_with_int8_it_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"--drop-empty does not go with {words}"):
        pruned(with_zero_filters(), sparsity=0.5, drop_empty=True, **options)


def test_the_report_tells_when_there_was_nothing_to_drop() -> None:
    assert dict(dropped_rows(DroppedRecord({}, (5, 5), (9, 9)))) == {"empty channels": "none"}
    assert dict(dropped_rows(None)) == {}
