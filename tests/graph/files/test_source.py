"""A model in any form: what is taken, and what is told to do with other libraries' models."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest
from build_onnx import model, normal, value
from onnx import ModelProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.source import as_source


def proto() -> ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return model(nodes, [value("x", [2, 3])], ["y"], {"w": normal(0, 3, 3)})


def test_bytes_in_every_form_and_open_files_are_taken() -> None:
    data = proto().SerializeToString()
    for given in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        assert as_source(given) == data


@pytest.mark.parametrize("name", ["model_proto", "model"])
def test_what_holds_a_message_is_taken(name: str) -> None:
    own = proto()
    assert as_source(own) is own
    assert as_source(SimpleNamespace(**{name: own})) is own


def of_library(module: str, monkeypatch: pytest.MonkeyPatch) -> type:
    """Return a class whose base looks like another library's."""
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    base = type("Module", (), {"__module__": module})
    return type("Net", (base,), {"__module__": "__main__"})


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("torch.nn.modules.module", "torch.onnx.export"),
        ("keras.src.models.model", "model.export"),
        ("tensorflow.python.training", "tf2onnx"),
        ("sklearn.base", "skl2onnx.to_onnx"),
        ("onnxruntime.capi", "the file or the bytes that the session was made from"),
        ("onnx_ir", "onnx_ir.to_proto"),
        ("elsewhere", "give the path of an .onnx file, its bytes, or an onnx.ModelProto"),
    ],
)
def test_a_model_of_another_library_is_told_how_to_be_exported(
    module: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = of_library(module, monkeypatch)
    for given, words in ((kind(), "of type __main__.Net"), (kind, "the class __main__.Net")):
        with pytest.raises(ModelError, match=f"the model given is {words}; .*{remedy}"):
            as_source(given)


def test_weights_without_a_network_are_refused() -> None:
    with pytest.raises(ModelError, match=r"of type builtins.dict: weights without a network"):
        as_source({"fc.weight": 1})
