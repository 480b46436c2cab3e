"""Values are stored under their names, and what nobody reads then goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from build_onnx import Array, branch, constant, model, normal, run, tensor, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.files.location import external_ref
from onnx_lobs.graph.folding.cone import ConstantPart
from onnx_lobs.graph.folding.replace import describe, find_unread, replace
from onnx_lobs.graph.model import Model

NODE = helper.make_node


def part_of(proto: ModelProto, folder: Path | None = None) -> ConstantPart:
    return ConstantPart(Model(proto, folder))


def chain_of(**weights: Array) -> ModelProto:
    """The model y = x + |k w|."""
    nodes = [
        constant("k", np.float32([2])),
        NODE("Mul", ["w", "k"], ["a"]),
        NODE("Abs", ["a"], ["b"]),
        NODE("Add", ["x", "b"], ["y"]),
    ]
    return model(nodes, [value("x", [3])], ["y"], weights)


def test_what_only_led_to_a_stored_value_is_unread() -> None:
    unread = find_unread(part_of(chain_of(w=normal(1, 3))), [(0, "b")])
    assert len(unread.nodes) == 3
    assert unread.initializers == {(0, "w")}
    assert (unread.inside, unread.external) == (16, 0)  # three numbers, and the Constant's


def test_what_something_else_reads_is_kept_with_all_that_it_needs() -> None:
    proto = chain_of(w=normal(1, 3))
    proto.graph.node.append(NODE("Neg", ["a"], ["z"]))
    proto.graph.output.append(value("z", [3]))
    unread = find_unread(part_of(proto), [(0, "b")])
    assert len(unread.nodes) == 1
    assert unread.initializers == set()


def test_what_a_branch_reads_is_kept() -> None:
    proto = chain_of(w=normal(1, 3))
    node = NODE(
        "If", ["c"], ["z"], then_branch=branch([NODE("Neg", ["a"], ["t"])], "t"),
        else_branch=branch([NODE("Neg", ["x"], ["e"])], "e"),
    )  # fmt: skip
    proto.graph.node.append(node)
    proto.graph.input.append(value("c", [], TensorProto.BOOL))
    proto.graph.output.append(value("z", [3]))
    assert len(find_unread(part_of(proto), [(0, "b")]).nodes) == 1


def test_names_in_annotations_are_kept() -> None:
    proto = chain_of(w=normal(1, 3))
    annotation = proto.graph.quantization_annotation.add(tensor_name="x")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    assert find_unread(part_of(proto), [(0, "b")]).initializers == set()


def test_a_stored_value_takes_the_place_of_its_maker() -> None:
    proto = chain_of(w=normal(1, 3))
    x = normal(2, 3)
    before = run(proto, x=x)["y"]
    part = part_of(proto)
    stored = np.abs(2 * normal(1, 3))
    arrays = {(0, "b"): stored}
    replace(part, {(0, "b"): describe(part, (0, "b"), stored)}, arrays)
    assert arrays == {}
    onnx.checker.check_model(proto, full_check=True)
    assert [node.op_type for node in proto.graph.node] == ["Add"]
    assert np.array_equal(run(proto, x=x)["y"], before)


def test_a_value_of_an_external_source_belongs_into_its_file(tmp_path: Path) -> None:
    proto = chain_of(w=normal(1, 3))
    (tmp_path / "data").write_bytes(bytes(8) + normal(1, 3).tobytes())
    source = proto.graph.initializer[0]
    source.ClearField("raw_data")
    source.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "data", "offset": "8", "length": "12"}.items():
        source.external_data.add(key=key, value=text)
    part = part_of(proto, tmp_path)
    made = describe(part, (0, "b"), normal(2, 3))
    ref = external_ref(made)
    assert ref is not None
    assert (ref.location, ref.offset) == ("data", 8)
    assert made.raw_data == b""
    assert find_unread(part, [(0, "b")]).external == 12


def test_only_what_is_gone_loses_its_description() -> None:
    proto = chain_of(w=normal(1, 3))
    proto.graph.value_info.extend([value("a", [3]), value("b", [3]), value("other", [7])])
    part = part_of(proto)
    replace(part, {(0, "b"): tensor("b", normal(2, 3))}, {(0, "b"): normal(2, 3)})
    assert [info.name for info in proto.graph.value_info] == ["b", "other"]
