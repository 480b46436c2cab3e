"""What C code cannot do is refused by a message that names the node, the limit and a way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import TensorProto, helper
from targets_c import branches, conv, exported, network, node, one, samples, shaped

from onnx_lobs.errors import ConfigError, DataError, InferenceError, ModelError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.targets.c.emit import write_files
from onnx_lobs.targets.c.lower.evaluate import run_nodes
from onnx_lobs.targets.c.network import Network, read_network
from onnx_lobs.targets.c.ranges import find_ranges

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
ONE_SAMPLE = "only one sample at a time"


def resized(shape: tuple[int, ...], mode: str = "nearest") -> Network:
    return shaped("Resize", shape, None, np.array([1, 1, 2, 2.0], np.float32), mode=mode)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (one("Selu"), "Selu 'the Selu' has no C code: there is no float32 code"),
        (one("LRN", size=3), "LRN 'the LRN' has no C code: the operator is not"),
        (
            network(
                [node("QuantizeLinear", ["x", "s"], "a"), node("DequantizeLinear", ["a", "s"])],
                (1, 4),
                {"s": np.float32(0.1)},
            ),
            "a model that computes in integers; give the float one",
        ),
        (shaped("Dropout", (1, 4), np.float32(0.5), np.array(True)), "it is in training mode"),
        (
            network([node("Cast", ["x"], "a", to=INT32), node("Cast", ["a"], to=FLOAT)], (1, 4)),
            "it rounds or cuts float to int32",
        ),
        (branches("Div"), "it divides by a computed value"),
        (conv((2, 4, 5, 5), (6, 4, 3, 3)), "only one sample at a time"),
        (resized((1, 2, 3, 4), mode="linear"), "the mode linear; only nearest"),
        (resized((1, 1, 4100, 4100)), "its input has 16,810,000 elements, at most 16,777,216"),
        (
            shaped(
                "Resize",
                (1, 2, 3, 4),
                np.array([0, 0, 0, 0, 1, 1, 1, 2], np.float32),
                None,
                np.array([1, 2, 6, 8]),
                mode="nearest",
                coordinate_transformation_mode="tf_crop_and_resize",
                extrapolation_value=-1.0,
            ),
            "its elements are no whole slices",
        ),
        (conv((1, 4, 5, 5, 5), (6, 4, 3, 3, 3)), "3 dimensions; at most 2"),
        (branches("Conv", (1, 1, 3, 3)), "the weight 'a' is no constant"),
        (conv((2, 4, 5, 5), (4, 3, 3, 3), "ConvTranspose"), ONE_SAMPLE),
        (
            conv((1, 4, 5, 5), (4, 3, 3, 3), "ConvTranspose", output_shape=[7, 7]),
            "output_shape is not read",
        ),
        (
            network([node("Gemm", ["w", "x"])], (5, 3), {"w": normal(1, 4, 5)}),
            "its first input is constant",
        ),
        (shaped("Gemm", (3, 5), normal(1, 5, 4), normal(2, 3, 4)), r"a bias of shape \(3, 4\)"),
        (shaped("MatMul", (2, 3, 5), normal(1, 2, 5, 4)), rf"shape \(2, 5, 4\); {ONE_SAMPLE}"),
        (network([node("MatMul", ["w", "x"])], (2, 5, 3), {"w": normal(1, 4, 5)}), ONE_SAMPLE),
        (
            network([node("Transpose", ["x"], "a"), node("MatMul", ["x", "a"])], (3, 5)),
            "both factors are computed",
        ),
        (
            shaped("BatchNormalization", (2, 4, 5), *np.abs(normal(1, 4, 4))),
            ONE_SAMPLE,
        ),
        (
            network(
                [
                    helper.make_node("MaxPool", ["x"], ["a", "i"], name="m", kernel_shape=[2, 2]),
                    node("Cast", ["i"], to=FLOAT),
                ],
                (1, 1, 4, 4),
            ),
            "MaxPool 'm' has no C code: its indices are read",
        ),
        (
            one("AveragePool", kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1),
            "ceil_mode beside count_include_pad",
        ),
        (
            network([node("Concat", ["x", "c"], axis=0)], (1, 4), {"c": normal(1, 2, 4)}),
            "its input 'c' is constant",
        ),
        (
            network(
                [
                    node("Relu", ["x"], "a"),
                    node("Sigmoid", ["x"], "b"),
                    node("Sum", ["x", "a", "b"]),
                ],
                (1, 4),
            ),
            "3 terms; two are written",
        ),
    ],
)
def test_what_has_no_code_is_named(made: Network, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        exported(made, "fp32", data=[])


def test_arithmetic_of_whole_numbers_is_refused() -> None:
    nodes = [node("Div", ["x", "c"], "a"), node("Cast", ["a"], to=FLOAT)]
    proto = model(nodes, [value("x", (1, 4), INT32)], ["y"], {"c": np.array(2, np.int32)})
    with pytest.raises(ModelError, match="Div 'the Div' has no C code: it computes int32"):
        exported(read_network(load_model(proto), {}), "fp32", data=[])


def test_a_mask_of_dropout_is_refused() -> None:
    drop = helper.make_node("Dropout", ["x"], ["a", "mask"], name="the Dropout")
    nodes = [drop, node("Cast", ["mask"], "m", to=FLOAT), node("Mul", ["a", "m"])]
    made = network(nodes, (1, 4))
    with pytest.raises(ModelError, match="Dropout 'the Dropout' has no C code: its mask is read"):
        exported(made, "fp32")


def test_rows_that_are_looked_up_are_refused() -> None:
    nodes = [node("Gather", ["c", "x"])]
    proto = model(nodes, [value("x", (1, 4), INT64)], ["y"], {"c": normal(1, 9, 3)})
    with pytest.raises(ModelError, match="it looks up a table by computed indices"):
        exported(read_network(load_model(proto), {}), "fp32", data=[])


def test_whole_numbers_get_no_grids() -> None:
    nodes = [node("Cast", ["x"], "a", to=FLOAT), node("Neg", ["a"])]
    proto = model(nodes, [value("x", (1, 4), TensorProto.UINT8)], ["y"])
    data = [{"x": np.array([[0, 1, 200, 255]], np.uint8)}]
    with pytest.raises(ModelError, match=r"values of 'x' are not float32.*--values fp32"):
        exported(read_network(load_model(proto), {}), "int8", data=data)


def test_padding_beyond_the_range_is_refused_in_integers() -> None:
    made = shaped("Pad", (1, 4), np.array([0, 1, 0, 1]), np.float32(1e3))
    with pytest.raises(ModelError, match="its value 1000 is beyond the range of what it pads"):
        exported(made, "int8")


def test_sums_that_leave_32_bits_are_refused() -> None:
    weight = np.ones((70_000, 1), np.float32)  # 127 * 127 * 70,000 is more than 2^30
    weight[0] = 1 / 127  # the others take 127 steps
    made = shaped("MatMul", (1, len(weight)), weight)
    with pytest.raises(ModelError, match=r"'the MatMul' sums up to 1,\d{3},.*--values fp32"):
        exported(made, "int8", data=samples(made, 1))


def test_a_constant_far_beyond_its_products_is_refused_in_integers() -> None:
    made = network([node("Mul", ["x", "c"])], (1, 2), {"c": np.array([1e5, 1], np.float32)})
    data = [{"x": np.array([[0, 1]], np.float32)}]
    with pytest.raises(DataError, match="'the Mul' scales a step of its input to 100,000 steps"):
        exported(made, "int8", data=data)


def test_nodes_that_cannot_run_alone_are_named() -> None:
    made = one("Neg", (1, 4))
    alone = node("Mul", ["x", "c"])
    with pytest.raises(ModelError, match="Mul 'the Mul' has no C code: it cannot be evaluated: "):
        run_nodes(made, (alone,), "x", normal(1, 4), {"c": np.array([2])})


def test_a_shape_that_only_a_run_tells_is_refused() -> None:
    nodes = [node("NonZero", ["x"], "a"), node("Cast", ["a"], to=FLOAT)]
    with pytest.raises(ModelError, match="shape of 'a', an output of NonZero 'the NonZero'"):
        network(nodes, (1, 4))


def test_an_open_axis_is_refused() -> None:
    proto = model([node("Relu", ["x"])], [value("x", ["n", 3, "h"])], ["y"])
    with pytest.raises(ConfigError, match=r"'x' has the shape \?x3x\?.*--input-shape x:1x3"):
        read_network(load_model(proto), {})


def test_a_model_that_onnxruntime_cannot_load_is_refused() -> None:
    nodes, outputs = [node("MatMul", ["x", "c"])], [value("y", (1, 3))]
    proto = model(nodes, [value("x", (1, 4))], outputs, {"c": normal(1, 5, 3)})
    with pytest.raises(ModelError, match=r"onnxruntime cannot load the model: .*dimension"):
        read_network(load_model(proto), {})


def test_a_constant_where_a_computed_value_is_taken_is_refused() -> None:
    weights = {"k": normal(1, 2, 1, 3), "w": normal(2, 1, 4, 3), "r": normal(3, 1, 4, 4)}
    cell = node("RNN", ["k", "w", "r", "", "", "x"], hidden_size=4)
    made = read_network(load_model(model([cell], [value("x", (1, 1, 4))], ["y"], weights)), {})
    with pytest.raises(ModelError, match="RNN 'the RNN' has no C code: its input 'k' is constant"):
        exported(made, "fp32", data=[])


def test_samples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InferenceError, match=r"onnxruntime failed: .*dimensions"):
        find_ranges(one("Relu", (1, 4)), [{"x": normal(1, 1, 5)}], "minmax")


def test_a_folder_within_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    files = exported(one("Relu", (1, 4)), "fp32").files
    with pytest.raises(ConfigError, match=r"a file/folder' cannot be written: .*; name another"):
        write_files(files, tmp_path / "a file" / "folder")
