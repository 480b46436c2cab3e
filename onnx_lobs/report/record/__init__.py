"""Holds the record of a run, from which every form of report is made; a file for each kind."""

from onnx_lobs.report.record.advice import AdviceRecord
from onnx_lobs.report.record.blocks import BlocksRecord
from onnx_lobs.report.record.channels import (
    ChannelsRecord,
    GroupRecord,
    PinnedRecord,
    QueryKeyRecord,
)
from onnx_lobs.report.record.choice import AllocationRecord, CorrectionRecord, TargetRecord
from onnx_lobs.report.record.deploy import DeployRecord
from onnx_lobs.report.record.details import (
    ChangedSample,
    ClassScore,
    Details,
    Histogram,
    KeptMap,
    LayerPicture,
)
from onnx_lobs.report.record.dropped import DroppedRecord
from onnx_lobs.report.record.inputs import InputRange, range_words
from onnx_lobs.report.record.layer import LayerRecord
from onnx_lobs.report.record.output import BoundRecord, JudgedValue, OutputRecord
from onnx_lobs.report.record.report import SCHEMA, Report
from onnx_lobs.report.record.rounds import RoundRecord
from onnx_lobs.report.record.score import ScoreRecord
from onnx_lobs.report.record.totals import FileWeights, SkipRecord, Totals

__all__ = [
    "SCHEMA",
    "AdviceRecord",
    "AllocationRecord",
    "BlocksRecord",
    "BoundRecord",
    "ChangedSample",
    "ChannelsRecord",
    "ClassScore",
    "CorrectionRecord",
    "DeployRecord",
    "Details",
    "DroppedRecord",
    "FileWeights",
    "GroupRecord",
    "Histogram",
    "InputRange",
    "JudgedValue",
    "KeptMap",
    "LayerPicture",
    "LayerRecord",
    "OutputRecord",
    "PinnedRecord",
    "QueryKeyRecord",
    "Report",
    "RoundRecord",
    "ScoreRecord",
    "SkipRecord",
    "TargetRecord",
    "Totals",
    "range_words",
]
