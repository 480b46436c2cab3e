"""Values as people write them in Python: what they mean, or one sentence."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from onnx_lobs.errors import ConfigError, did_you_mean, near_names
from onnx_lobs.options.call import read_options
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import to_plain, values_of


def read(**given: Any) -> PruneConfig:
    return PruneConfig(**read_options(given, OPTIONS))


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("sparsity", "0.8", 0.8),
        ("sparsity", "80%", 0.8),
        ("sparsity", " 80 % ", 0.8),
        ("sparsity", "0,8", 0.8),
        ("sparsity", np.float64(0.8), 0.8),
        ("sparsity", np.array(0.5, np.float32), 0.5),
        ("sparsity", 0, 0),
        ("damp", "1e-3", 1e-3),
        ("max_drop", "1%", 0.01),
        ("samples", "32", 32),
        ("samples", np.int32(32), 32),
        ("positions", "all", None),
        ("memory", "2GiB", 2**31),
        ("max_bytes", np.int64(500), 500),
        ("time", "10m", 600.0),
        ("time", timedelta(minutes=10), 600.0),
        ("time", 90, 90),
        ("method", "SparseGPT", "sparsegpt"),
        ("method", "exact_obs", "exact-obs"),
        ("allocation", "ERK", "erk"),
        ("effort", " Best ", "best"),
        ("score", "Top1", "top1"),
        ("pattern", "Unstructured", "unstructured"),
        ("op_types", "gemm,conv", ("Gemm", "Conv")),
        ("op_types", ["CONV"], ("Conv",)),
        ("include", "*fc*", ("*fc*",)),
        ("exclude", ["a", "b"], ("a", "b")),
        ("layer_sparsity", {"a": "70%"}, {"a": 0.7}),
        ("preset", "ImageNet", "imagenet"),
        ("layout", "NHWC", "nhwc"),
        ("mean", "0.485, 0.456,0.406", (0.485, 0.456, 0.406)),
        ("mean", 127, (127.0,)),
        ("std", np.array([1.0, 2.0, 3.0]), (1.0, 2.0, 3.0)),
        ("std", ["0.5"], (0.5,)),
        ("scale", "1e-2", 0.01),
        ("resize", 256, (256,)),
        ("resize", "256x320", (256, 320)),
        ("crop", [4, 5], (4, 5)),
        ("classes", Path("c.txt"), "c.txt"),
        ("layer_sparsity", "a=0,7", {"a": 0.7}),
        ("layer_max", ["a=0.7", "b=80%"], {"a": 0.7, "b": 0.8}),
        ("input_shapes", "x:1x3", {"x": (1, 3)}),
        ("input_shapes", {"x": [1, np.int64(3)]}, {"x": (1, 3)}),
        ("bound", np.bool_(True), True),
    ],
)
def test_a_value_is_what_was_meant(name: str, given: Any, meant: Any) -> None:
    found = getattr(read(**{name: given}), name)
    assert found == meant
    assert type(found) in (type(meant), type(given))
    assert json.dumps(found) == json.dumps(meant)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        (
            "sparsity",
            "much",
            "sparsity 'much' is not understood; write a number such as 0.8 or 80%",
        ),
        ("sparsity", [0.5], r"sparsity is \[0.5\], of type list; give a number such as 0.8"),
        ("sparsity", True, "sparsity is True, of type bool; give a number"),
        ("sparsity", "1,000,5", "sparsity '1,000,5' is not understood"),
        ("samples", 1.5, "samples is 1.5, of type float; give a whole number"),
        ("samples", "few", "samples 'few' is not understood"),
        ("positions", "some", "positions 'some' is not understood"),
        ("refit", "yes", "refit is 'yes', of type str; give True or False"),
        ("include", 3, "include is 3, of type int; give a tuple of names"),
        ("include", (3,), "include holds 3; give names or patterns as texts"),
        ("layer_sparsity", 0.5, "layer_sparsity is 0.5, of type float; give a mapping"),
        ("layer_min", {"a": "x"}, "layer min 'x' is not understood"),
        ("preset", "0-2", "preset '0-2' is unknown; .*choose one of imagenet, 0-1, -1-1, 0-255"),
        ("mean", "a,b,c", "mean 'a' is not understood; write a number"),
        ("mean", (1, 2), r"mean is \(1.0, 2.0\); give one finite number, or three"),
        ("std", (1, 0, 1), r"std is \(1.0, 0.0, 1.0\); it must be above 0"),
        ("std", float("inf"), r"std is \(inf,\); give one finite number"),
        ("scale", 0, "scale is 0; it must be finite and above 0"),
        ("resize", "0x3", "resize '0x3' is not understood; write one size, or height x width"),
        ("crop", (1, 2, 3), r"crop is \(1, 2, 3\); give one size, or height and width"),
        ("crop", 2.5, "crop is 2.5, of type float; give a size such as 224"),
        ("tokenizer", 3, "tokenizer is 3, of type int; give the path of a file"),
        ("input_shapes", {"x": (1, 0)}, r"input_shapes of 'x' is \(1, 0\); give positive sizes"),
        ("input_shapes", {"x": "1x3"}, "input_shapes of 'x' is '1x3'; give positive sizes"),
        ("memory", 1.5, "memory is 1.5, of type float; give a number of bytes, or a text"),
        ("score", 3, "score is 3, of type int; give a text .* or a function"),
        ("cache", 3, "cache is 3, of type int; give the path of a folder"),
        ("provider", ["cpu"], r"provider is \['cpu'\], of type list; give a text"),
        ("sparsity", np.zeros(99), "sparsity is ndarray ..., of type ndarray; give a number"),
    ],
)
def test_a_value_that_means_nothing_is_one_sentence(name: str, given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as found:
        read(**{name: given})
    assert "\n" not in str(found.value)


def test_a_text_in_the_record_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sparsity is '0.8', of type str; give a number"):
        PruneConfig(sparsity="0.8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "given", "near"),
    [
        ("method", "sparsgpt", "sparsegpt"),
        ("method", "Magnitud", "magnitude"),
        ("allocation", "unifrom", "uniform"),
        ("effort", "defualt", "default"),
        ("budget", "mac", "macs"),
        ("storage", "sprase", "sparse"),
        ("gram", "grpah", "graph"),
        ("op_types", "Convv", "Conv"),
        ("score", "agreemnt", "agreement"),
        ("pattern", "unstructred", "unstructured"),
    ],
)
def test_a_name_that_is_nearly_one_is_asked_for(name: str, given: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"{given!r} is unknown; did you mean {near!r}. "):
        read(**{name: given})


@pytest.mark.parametrize("name", ["device", "ep"])
def test_what_others_call_an_option_leads_to_it(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name!r} is unknown; did you mean provider?"):
        read(**{name: "cuda"})


def test_a_function_is_a_score_and_its_name_in_records() -> None:
    def recall(run: Any) -> float:
        return 1.0

    config = read(score=recall)
    assert config.score is recall
    assert values_of(config)["score"] == to_plain(config)["score"] == "recall"
    json.dumps(values_of(config))


def test_values_are_not_modified() -> None:
    given = MappingProxyType({"a": "0.5"})
    assert read(layer_sparsity=given).layer_sparsity == {"a": 0.5}
    assert given["a"] == "0.5"


def test_near_names_do_not_care_for_case() -> None:
    assert near_names("WANDAS", ["lobs", "wanda"]) == ["wanda"]
    assert did_you_mean("magic", ["lobs", "wanda"]) == ""
    assert did_you_mean(None, ["lobs"]) == ""
