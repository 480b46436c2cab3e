"""What a report gives for repeating the run does repeat it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from example_report import example_report

import onnx_lobs
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.option import values_of
from onnx_lobs.report.repeat import python_call, repetition


def test_the_command_is_given_where_there_is_one() -> None:
    report = example_report()
    assert repetition(report) == (shlex.join(report.command), "")
    code, note = repetition(replace(report, command=()))
    assert code.startswith("onnx_lobs.prune(")
    assert "data" in note


def test_the_call_has_the_options_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PruneConfig(sparsity=0.7, exclude=("a'b",), layer_sparsity={"*fc*": 0.5}, damp=0.02)
    seen: dict[str, Any] = {}

    def prune(model: str, data: Any, **options: Any) -> None:
        seen.update(options, model=model, data=data)

    monkeypatch.setattr(onnx_lobs, "prune", prune, raising=False)
    report = replace(example_report(), model="m'.onnx", options=values_of(config))
    exec(python_call(report), {"onnx_lobs": onnx_lobs, "data": 1, "test": 2})
    assert (seen.pop("model"), seen.pop("data"), seen.pop("test")) == ("m'.onnx", 1, 2)
    assert seen["seed"] == 0
    assert PruneConfig(**seen) == config
