"""export-c: files that check themselves, what they take, and bad input in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, value
from onnx import helper
from targets_c import COMPILER, run_check

import onnx_lobs
from onnx_lobs.cli.main import main
from onnx_lobs.data.reader import input_specs, open_data
from onnx_lobs.errors import ConfigError, DataError, ModelError, NotFiniteError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.source import as_source
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.targets.c.export import export_c as make_c
from onnx_lobs.targets.c.network import read_network
from onnx_lobs.targets.chips import Fit, read_chip
from onnx_lobs.verbs.c_code import CWanted, one_by_one
from onnx_lobs.verbs.export_c import export_c

MODELS = Path(__file__).parents[2] / "models" / "mnist"


def node(op: str, inputs: list[str], **about: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, ["y"], name=f"the {op}", **about)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights = {"w": np.sign(normal(1, 12, 5)), "b": normal(2, 5)}  # none rounds to zero
    proto = model([node("Gemm", ["x", "w", "b"])], [value("x", ["n", 12])], ["y"], weights)
    onnx.save(proto, tmp_path / "my model.onnx")
    np.save(tmp_path / "x.npy", normal(3, 40, 12))
    return tmp_path


def export(folder: Path, **options: Any) -> Any:
    data = options.pop("data", str(folder / "x.npy"))
    return export_c(folder / "my model.onnx", folder / "out", data=data, **options)


def save(folder: Path, nodes: list[onnx.NodeProto], shape: list[Any], **weights: Any) -> None:
    proto = model(nodes, [value("x", shape)], ["y"], weights)
    onnx.save(proto, folder / "my model.onnx")


def test_the_record_tells_what_was_written(folder: Path) -> None:
    record = export(folder, wanted=CWanted(chip=read_chip("flash=64KB")))
    assert record.files == (
        "my_model.c", "my_model.h", "my_model_samples.h", "my_model_check.c",
    )  # fmt: skip
    assert {path.name for path in (folder / "out").iterdir()} == set(record.files)
    assert record.multiplications == 60
    assert record.io_bytes == 17
    assert record.fit is Fit.FITS
    assert record.agreement is not None
    assert record.agreement.error < 1e-3  # steps of a 127th
    assert json.loads(record.to_json())["flash_bytes"] == record.flash_bytes


def test_float_code_needs_no_grids(folder: Path) -> None:
    record = export(folder, wanted=CWanted("fp32"))
    assert record.agreement is None
    assert "float" in (folder / "out" / "my_model.h").read_text()


def test_existing_files_are_kept(folder: Path) -> None:
    export(folder)
    before = (folder / "out" / "my_model.c").read_bytes()
    with pytest.raises(ConfigError, match=r"holds my_model.c, .*--overwrite"):
        export(folder, wanted=CWanted("fp32"))
    assert (folder / "out" / "my_model.c").read_bytes() == before
    export(folder, wanted=CWanted("fp32"), overwrite=True)
    assert (folder / "out" / "my_model.c").read_bytes() != before


def test_nothing_is_written_where_a_node_has_no_code(folder: Path) -> None:
    save(folder, [node("LRN", ["x"], size=3)], [1, 4, 5, 5])
    np.save(folder / "x.npy", normal(3, 10, 4, 5, 5))
    with pytest.raises(ModelError, match="LRN 'the LRN' has no C code: the operator is not"):
        export(folder)
    assert not (folder / "out").exists()


def test_a_model_that_takes_no_input_is_refused(folder: Path) -> None:
    onnx.save(model([node("Neg", ["w"])], [], ["y"], {"w": normal(1, 4)}), folder / "my model.onnx")
    with pytest.raises(ConfigError, match="takes no input; there is nothing to compute"):
        export(folder)


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "out").write_text("")
    with pytest.raises(ConfigError, match="out' is no folder; name another with -o"):
        export(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((9, 12)), "'x' on the calibration data reach from 0 to 0"),
        (normal(1, 9, 13), r"x.npy.*12"),
    ],
)
def test_data_that_give_no_grids_are_refused(folder: Path, data: Any, message: str) -> None:
    np.save(folder / "x.npy", data.astype(np.float32))
    with pytest.raises(DataError, match=message):
        export(folder)
    assert not (folder / "out").exists()


def test_open_axes_take_the_size_of_the_samples(folder: Path) -> None:
    save(folder, [node("Conv", ["x", "w"])], ["n", 3, "h", "w"], w=normal(1, 4, 3, 3, 3))
    np.save(folder / "x.npy", normal(3, 10, 3, 6, 7))
    export(folder)
    assert "1x3x6x7" in (folder / "out" / "my_model.h").read_text()


def test_a_shape_that_the_samples_do_not_have_is_refused(folder: Path) -> None:
    save(folder, [node("Conv", ["x", "w"])], ["n", 3, "h", "w"], w=normal(1, 4, 3, 3, 3))
    np.save(folder / "x.npy", normal(3, 10, 3, 6, 7))
    with pytest.raises(DataError, match=r"shape \(1, 3, 6, 7\), the C code takes \(1, 3, 8, 8\)"):
        export(folder, config=PruneConfig(input_shapes={"x": (1, 3, 8, 8)}))


def test_one_sample_is_not_cut_along_its_channels() -> None:
    nodes = [node("Conv", ["x", "w"])]
    proto = model(nodes, [value("x", ["n", "c", 6, 6])], ["y"], {"w": normal(1, 4, 1, 3, 3)})
    made = read_network(load_model(as_source(proto)), {"x": (1, 1, 6, 6)})
    samples = {"x": normal(2, 5, 3, 6, 6)}
    batches = open_data(samples, input_specs(proto), samples=None, batch_size=1)
    with pytest.raises(DataError, match=r"shape \(1, 3, 6, 6\), the C code takes \(1, 1, 6, 6\)"):
        next(one_by_one(batches, made))


def save_lstm(folder: Path, batch: str | int) -> None:
    """Save one as PyTorch exports it: time, batch, features."""
    weights = {"w": normal(1, 1, 16, 3), "r": normal(2, 1, 16, 4)}
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="lstm", hidden_size=4)
    save(folder, [lstm], ["t", batch, 3], **weights)


@pytest.mark.parametrize("batch", ["n", 1])
def test_samples_behind_the_axis_of_time_are_cut_there(folder: Path, batch: str | int) -> None:
    save_lstm(folder, batch)
    np.save(folder / "x.npy", normal(3, 5, 20 if batch == "n" else 1, 3))
    record = export(folder, wanted=CWanted("fp32"))
    assert "INPUT_0_SIZE 15\n" in (folder / "out" / "my_model.h").read_text()
    assert record.multiplications == 5 * (16 * 3 + 16 * 4)


def test_samples_behind_the_axis_of_time_have_shapes_of_their_own(folder: Path) -> None:
    save_lstm(folder, "n")
    with pytest.raises(ConfigError, match=r"--input-shape x:224x1x3, say"):
        export(folder, data=None)
    np.save(folder / "x.npy", normal(3, 5, 20, 3))
    with pytest.raises(DataError, match=r"shape \(5, 1, 3\), the C code takes \(7, 1, 3\)"):
        export(folder, config=PruneConfig(input_shapes={"x": (7, 1, 3)}))


def test_batches_of_steps_of_time_are_no_samples(folder: Path) -> None:
    save_lstm(folder, 1)
    with pytest.raises(ConfigError, match=r"--input-shape x:224x1x3, say"):
        export(folder, data=None)
    np.save(folder / "x.npy", normal(3, 64, 1, 3))  # two batches of 32
    with pytest.raises(ConfigError, match=r"'x' were cut into 2 batches along 't', which is named"):
        export(folder)
    export(folder, config=PruneConfig(input_shapes={"x": (1, 1, 3)}))
    assert "INPUT_0_SIZE 3\n" in (folder / "out" / "my_model.h").read_text()
    np.save(folder / "x.npy", normal(3, 2, 64, 1, 3))
    export(folder, overwrite=True)
    assert f"INPUT_0_SIZE {64 * 3}\n" in (folder / "out" / "my_model.h").read_text()


def test_inputs_are_cut_each_along_the_axis_of_its_own() -> None:
    shapes = {"x": (1, 3), "state": (2, 1, 4), "rate": (2,)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "state"], ["b"]),
        helper.make_node("ReduceSum", ["rate"], ["r"], keepdims=0),
        node("Mul", ["b", "r"]),
    ]
    inputs = [value("x", ["batch", 3]), value("state", [2, "batch", 4]), value("rate", [2])]
    proto = model(nodes, inputs, ["y"], {"w": normal(1, 3, 4)})
    x, state, rate = normal(2, 6, 3), normal(3, 2, 6, 4), normal(4, 2)
    batches = open_data(
        {"x": x, "state": state, "rate": rate}, input_specs(proto), samples=None, batch_size=4
    )
    made = read_network(load_model(as_source(proto)), shapes)
    found = list(one_by_one(batches, made))
    assert len(found) == 6
    for i, feeds in enumerate(found):
        np.testing.assert_array_equal(feeds["x"], x[i : i + 1])
        np.testing.assert_array_equal(feeds["state"], state[:, i : i + 1])
        np.testing.assert_array_equal(feeds["rate"], rate)


def test_open_axes_are_not_guessed(folder: Path) -> None:
    save(folder, [node("Conv", ["x", "w"])], ["n", 3, "h", "w"], w=normal(1, 4, 3, 3, 3))
    with pytest.raises(ConfigError, match=r"open axes.*--input-shape x:1x3x224x224"):
        export(folder, data=None)
    assert not (folder / "out").exists()
    shape = {"x": (1, 3, 6, 7)}
    assert export(folder, data=None, config=PruneConfig(input_shapes=shape)).io_bytes > 0


def test_floats_that_are_not_finite_are_refused(folder: Path) -> None:
    weights = {"w": 300 * normal(1, 12, 5), "v": normal(2, 5, 5)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"])]
    nodes += [helper.make_node("Exp", ["a"], ["b"]), node("MatMul", ["b", "v"])]
    save(folder, nodes, ["n", 12], **weights)
    with pytest.raises(NotFiniteError, match="output 'y' is not finite on sample 0"):
        export(folder, wanted=CWanted("fp32"))
    with pytest.raises(DataError, match="reach from 0 to inf"):
        export(folder)
    assert not (folder / "out").exists()


def test_whole_numbers_ask_for_float32(folder: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=onnx.TensorProto.DOUBLE)]
    nodes += [helper.make_node("MatMul", ["a", "w"], ["b"])]
    nodes += [helper.make_node("Cast", ["b"], ["y"], to=onnx.TensorProto.FLOAT)]
    save(folder, nodes, ["n", 12], w=normal(1, 12, 5).astype(np.float64))
    with pytest.raises(ModelError, match=r"not float32.*take --values fp32"):
        export(folder)
    assert export(folder, wanted=CWanted("fp32")).multiplications == 60


def test_nodes_may_share_a_name(folder: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["a"], name="one")]
    nodes += [helper.make_node("Relu", ["a"], ["y"], name="one")]
    save(folder, nodes, ["n", 12], w=np.sign(normal(1, 12, 5)))
    assert export(folder).multiplications == 60


def test_a_part_that_is_too_small_ends_with_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = str(folder / "my model.onnx"), str(folder / "x.npy")
    with pytest.raises(SystemExit) as exit_:
        main(["export-c", path, "-d", data, "-o", str(folder / "c"), "--chip", "flash=100b"])
    assert exit_.value.code == 1
    assert "TOO BIG on flash=100b" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")
@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
@pytest.mark.parametrize("values", ["int8", "fp32"])
def test_a_whole_network_computes_what_numpy_does(name: str, values: str, tmp_path: Path) -> None:
    loaded = load_model(MODELS / f"{name}.onnx")
    made = read_network(loaded, {})
    samples = open_data(
        MODELS / "calibration.npz", input_specs(loaded.proto), samples=16, batch_size=1
    )
    about = {"name": "net", "title": name, "version": "0", "values": values}
    found = run_check(make_c(made, one_by_one(samples, made), **about).files, tmp_path)
    assert found.stdout == "0 of 8 samples differ\n", found.stderr


@pytest.mark.parametrize("stored", [{"values": "int8"}, {"storage": "packed"}])
def test_weights_that_nodes_restore_are_written_as_numbers(folder: Path, stored: Any) -> None:
    save(folder, [node("MatMul", ["x", "w"])], ["n", 12], w=normal(1, 12, 80))
    path, data = folder / "my model.onnx", str(folder / "x.npy")
    pruned = onnx_lobs.prune(path, data, sparsity=0.9, allocation="uniform", **stored)
    pruned.save(folder / "smaller.onnx")
    (folder / "smaller.onnx").replace(path)
    assert len(onnx.load(path).graph.node) > 1
    assert export(folder).multiplications == 12 * 8
