"""The parameters of MNN's converter, read again by protobuf itself."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from onnx_lobs.targets.mnn import block_channels, compression_params

FIELD = descriptor_pb2.FieldDescriptorProto
# of MNN's messages those fields that are written: name, number, type or message, repeated
MESSAGES = {
    "Blocks": [("oc_blocks", 4, FIELD.TYPE_INT32, True)],
    "Pruning": [("type", 1, FIELD.TYPE_INT32, False), ("blocks", 3, "Blocks", False)],
    "Algorithm": [("type", 1, FIELD.TYPE_INT32, False), ("pruning", 3, "Pruning", False)],
    "Pipeline": [("version", 1, FIELD.TYPE_STRING, False), ("algo", 2, "Algorithm", True)],
}


def pipeline_class() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="params.proto", package="t", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = FIELD.TYPE_MESSAGE, f".t.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Pipeline"))


@pytest.mark.parametrize("channels", [2, 4, 8, 16, 127, 128, 300])
def test_protobuf_reads_the_parameters(channels: int) -> None:
    found = pipeline_class().FromString(compression_params(channels))  # type: ignore[attr-defined]
    (algorithm,) = found.algo
    assert found.version
    assert (algorithm.type, algorithm.pruning.type) == (1, 1)
    assert list(algorithm.pruning.blocks.oc_blocks) == [channels]


@pytest.mark.parametrize(
    ("pattern", "channels"),
    [("4x1", 4), ("16x1", 16), ("1x1", None), ("4x2", None), ("unstructured", None), ("2:4", None)],
)
def test_blocks_are_those_of_output_channels(pattern: str, channels: int | None) -> None:
    assert block_channels(pattern) == channels
