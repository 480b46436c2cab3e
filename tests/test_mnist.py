"""The project's own models through the command's way: accuracy kept, same bytes, safe files."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnx_lobs
from onnx_lobs import ConfigError, DataError, ModelError, PruneConfig
from onnx_lobs.graph.run.session import Session
from onnx_lobs.run.deliver import PROVENANCE
from onnx_lobs.storage.formats import FORMATS, StorageFormat
from onnx_lobs.verbs.prune import prune_file

MNIST = Path(__file__).parent.parent / "models" / "mnist"
FAST = {"samples": 500, "batch_size": 50, "method": "magnitude", "refit": False}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "allowed"), [("lenet-300-100", 0.004), ("lenet-5", 0.006)])
def test_93_percent_zeros_cost_little_accuracy(tmp_path: Path, name: str, allowed: float) -> None:
    config = PruneConfig(sparsity=0.93, batch_size=100)
    report = prune_file(MNIST / f"{name}.onnx", tmp_path / "out.onnx", config)
    score = report.output.score
    assert score is not None
    assert score.n == 10_000
    assert score.drop <= allowed
    assert report.totals.sparsity == pytest.approx(0.93, abs=1e-5)
    for layer in report.layers:
        assert layer.error <= layer.magnitude_error
        if layer.zeros:
            assert layer.error < 0.5 * layer.magnitude_error
    after_gzip = len(gzip.compress((tmp_path / "out.onnx").read_bytes(), 6))
    assert report.totals.gzip_bytes is not None
    # the same compressor with another header
    assert abs(report.totals.gzip_bytes[1] - after_gzip) < 64


@pytest.mark.slow
@pytest.mark.parametrize("method", ["joint", "lobs"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, method: str) -> None:
    outputs = []
    for name in ("a.onnx", "b.onnx"):
        config = PruneConfig(sparsity=0.9, samples=300, method=method, exclude=("fc1*",), seed=3)
        prune_file(MNIST / "lenet-300-100.onnx", tmp_path / name, config)
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_only_weights_biases_and_provenance_differ() -> None:
    before = onnx.load(MNIST / "lenet-5.onnx")
    after = onnx_lobs.prune(MNIST / "lenet-5.onnx", sparsity=0.7, **FAST | {"refit": True}).model
    old = {t.name: t for t in before.graph.initializer}
    changed = 0
    for tensor in after.graph.initializer:
        if tensor.raw_data != old[tensor.name].raw_data:
            changed += 1
            tensor.raw_data = old[tensor.name].raw_data
    assert changed == 8
    assert [p.key for p in after.metadata_props if p.key == PROVENANCE] == [PROVENANCE]
    kept = [p for p in after.metadata_props if p.key != PROVENANCE]
    del after.metadata_props[:]
    after.metadata_props.extend(kept)
    assert after.SerializeToString() == before.SerializeToString()


@pytest.mark.slow
def test_the_input_is_not_touched(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    shutil.copyfile(MNIST / "lenet-300-100.onnx", source)
    data = source.read_bytes()
    proto = onnx.load_from_string(data)
    onnx_lobs.prune(proto, MNIST / "calibration.npz", **FAST)
    assert proto.SerializeToString() == onnx.load_from_string(data).SerializeToString()
    shutil.copyfile(MNIST / "calibration.npz", tmp_path / "m.npz")
    prune_file(source, tmp_path / "out.onnx", PruneConfig(**FAST))
    assert source.read_bytes() == data


@pytest.mark.slow
def test_sparse_format_is_smaller_and_computes_the_same(tmp_path: Path) -> None:
    sizes, outputs = [], []
    image = np.random.default_rng(0).random((4, 1, 28, 28), dtype=np.float32)
    for storage in ("dense", "sparse"):
        path = tmp_path / f"{storage}.onnx"
        config = PruneConfig(sparsity=0.8, storage=storage, **FAST)
        prune_file(MNIST / "lenet-300-100.onnx", path, config)
        sizes.append(path.stat().st_size)
        outputs.append(Session(path).run({"image": image})["logits"])
    assert sizes[1] < sizes[0] / 2
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert onnx.load(tmp_path / "sparse.onnx").graph.sparse_initializer


@pytest.mark.slow
def test_external_data_stay_external(tmp_path: Path) -> None:
    source = tmp_path / "in" / "m.onnx"
    source.parent.mkdir()
    proto = onnx.load(MNIST / "lenet-300-100.onnx")
    onnx.save(proto, source, save_as_external_data=True, location="w.bin", size_threshold=0)
    output = tmp_path / "out.onnx"
    prune_file(source, output, PruneConfig(sparsity=0.7, **FAST), data=MNIST / "calibration.npz")
    dense = onnx.load(MNIST / "lenet-300-100.onnx")  # saving made `proto` external
    inside = onnx_lobs.prune(dense, MNIST / "calibration.npz", sparsity=0.7, **FAST).model
    stored = onnx.load(output, load_external_data=False)
    assert all(t.data_location == onnx.TensorProto.EXTERNAL for t in stored.graph.initializer)
    for one, other in zip(
        onnx.load(output).graph.initializer, inside.graph.initializer, strict=True
    ):
        np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4x1", "1x4"])
def test_a_written_pattern_is_obeyed(pattern: str) -> None:
    model = onnx_lobs.prune(MNIST / "lenet-5.onnx", pattern=pattern, **FAST).model
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    conv2, fc1 = weights["conv2.weight"] != 0, weights["fc1.weight"] != 0
    if pattern.endswith(":4"):
        keep = int(pattern[0])
        # groups of 4 input channels at one kernel position; Gemm weights are (outputs, inputs)
        assert conv2.reshape(50, 5, 4, 25).sum(axis=2).max() == keep
        assert fc1.reshape(500, 200, 4).sum(axis=2).max() == keep
    elif pattern == "4x1":
        blocks = fc1.reshape(125, 4, 800).sum(axis=1)
        assert set(np.unique(blocks)) == {0, 4}
        whole = conv2[:48].reshape(12, 4, 20, 25).sum(axis=1)
        assert set(np.unique(whole)) == {0, 4}
    else:
        assert set(np.unique(fc1.reshape(500, 200, 4).sum(axis=2))) == {0, 4}
        assert set(np.unique(conv2.reshape(50, 5, 4, 25).sum(axis=2))) == {0, 4}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"sparsity": 0.7}, {"layer_sparsity": {"*": 0.5}}])
def test_an_n_m_pattern_has_its_own_sparsity(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"pattern 2:4 has 0\.5 zeros in every layer; leave out"):
        onnx_lobs.prune(MNIST / "lenet-5.onnx", pattern="2:4", **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_layer_that_is_sparse_enough_already_is_left_alone() -> None:
    first = onnx_lobs.prune(MNIST / "lenet-300-100.onnx", sparsity=0.8, **FAST).model
    again = onnx_lobs.prune(first, MNIST / "calibration.npz", sparsity=0.5, **FAST)
    assert {layer.status for layer in again.report.layers} == {"already sparse"}
    assert again.report.totals.sparsity == pytest.approx(0.8, abs=1e-5)


@pytest.mark.slow
def test_a_layer_sparsity_wins_over_the_run_s() -> None:
    report = onnx_lobs.prune(
        MNIST / "lenet-300-100.onnx", sparsity=0.5, layer_sparsity={"fc3*": 0.2}, **FAST
    ).report
    assert [layer.sparsity for layer in report.layers] == [0.5, 0.5, 0.2]


@pytest.mark.slow
def test_synthetic_data_come_with_a_loud_warning() -> None:
    proto = onnx.load(MNIST / "lenet-300-100.onnx")
    report = onnx_lobs.prune(proto, **FAST).report
    assert any("random inputs were used" in warning for warning in report.warnings)


@pytest.mark.slow
def test_a_test_set_beside_the_model_that_does_not_fit_is_a_warning(tmp_path: Path) -> None:
    shutil.copyfile(MNIST / "lenet-300-100.onnx", tmp_path / "m.onnx")
    shutil.copyfile(MNIST / "calibration.npz", tmp_path / "m.npz")
    np.savez(tmp_path / "test.npz", other=np.zeros((3, 2), np.float32), label=np.zeros(3, int))
    report = onnx_lobs.prune(tmp_path / "m.onnx", **FAST).report
    assert report.output.score is None
    assert any(warning.startswith("test.npz, found beside") for warning in report.warnings)


def test_a_test_set_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="has no labels; add an array `label`"):
        onnx_lobs.prune(MNIST / "lenet-300-100.onnx", test=MNIST / "calibration.npz", **FAST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 3}, "option 'speed' is unknown; did you mean seed"),
        ({"method": "magic"}, "method 'magic' is unknown; choose one of joint"),
        ({"provider": "tpu"}, "provider 'tpu' is not in this onnxruntime"),
        ({"layer_sparsity": {"conv*": 0.5}}, "'conv\\*' matches no layer that is pruned"),
        ({"include": ("conv*",)}, "'conv\\*' matches no node and no weight"),
    ],
)
def test_an_impossible_option_is_refused_before_any_work(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        onnx_lobs.prune(MNIST / "lenet-300-100.onnx", **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_written_file_that_computes_something_else_never_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = FORMATS["sparse"]

    def spoil(proto: onnx.ModelProto, names: Collection[str], folder: Path | None) -> list[str]:
        tensor = next(t for t in proto.graph.initializer if t.name in names)
        values = numpy_helper.to_array(tensor).copy()
        tensor.raw_data = (2 * values).tobytes()
        return sparse.encode(proto, names, folder)

    spoiled = dataclasses.replace(sparse, encode=spoil)
    monkeypatch.setitem(cast("dict[str, StorageFormat]", FORMATS), "sparse", spoiled)
    with pytest.raises(ModelError, match="differs from the one in memory"):
        prune_file(
            MNIST / "lenet-300-100.onnx",
            tmp_path / "out.onnx",
            PruneConfig(storage="sparse", **FAST),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_report_of_a_run_is_complete(tmp_path: Path) -> None:
    report = prune_file(MNIST / "lenet-5.onnx", tmp_path / "o.onnx", PruneConfig(**FAST))
    record = report.to_dict()
    assert {"schema", "layers", "skipped", "totals", "output"} <= set(record)
    keys = {"name", "op", "weights", "zeros", "sparsity", "error", "magnitude_error", "status"}
    assert keys <= set(record["layers"][0])  # type: ignore[index]
    totals = {"weights", "zeros", "sparsity", "file_bytes", "gzip_bytes", "seconds"}
    assert totals <= set(record["totals"])  # type: ignore[call-overload]
    output = {
        "error",
        "fitted_error",
        "n_held",
        "n_fits",
        "score",
        "first_order",
        "bounds",
        "notes",
        "judged",
    }
    assert output == set(record["output"])  # type: ignore[call-overload]
    assert dataclasses.asdict(report)["output_path"] == str(tmp_path / "o.onnx")
