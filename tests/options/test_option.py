"""One declaration says all of an option: its plain form, its checks, and what depends on it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.number_kinds import count, count_or_all
from onnx_lobs.options.option import (
    Affects,
    Option,
    check_options,
    for_verb,
    from_plain,
    names_that_affect,
    option,
    options_of,
    take,
    to_plain,
)
from onnx_lobs.options.samples import SAMPLE_OPTIONS

# values beside the defaults; an option that is added has to be added here, too
OTHERS: dict[str, Any] = {
    "sparsity": 0.8, "pattern": "2:4", "channels": 0.3, "max_drop": 0.01, "max_output_error": 0.1,
    "max_bytes": 500_000, "layer_sparsity": {"*a=b*": 0.7, "re:x": 0.1 + 0.2},
    "layer_min": {"a": 0.0}, "layer_max": {"*": 0.9}, "allocation": "erk", "budget": "macs",
    "align": 16, "channel_choice": "l2", "drop_empty": True,
    "include": ("a", "re:b,c"), "exclude": ("*",), "op_types": ("Gemm", "Conv"),
    "min_weights": 0, "tied": "prune", "method": "lobs", "effort": "best", "time": 600.0,
    "refit": False, "refit_blocks": True, "sequential": True, "correct": False, "damp": 1e-3,
    "seed": 7,
    "retrain": 20, "rounds": (0.5, 0.75), "retrain_towards": "labels", "retrain_move": "all",
    "retrain_rate": 0.1, "retrain_decay": 0.05, "retrain_sparsity": 0.9,
    "retrain_optimiser": "sgd",
    "score": "s.py:f", "samples": 9,
    "positions": None, "batch_size": 3, "input_shapes": {"a:0": (1, 3), "b": (7,)},
    "preset": "-1-1", "mean": (0.1, 0.2, 1 / 3), "std": (127.5,), "scale": 1 / 255,
    "layout": "nhwc", "resize": (256,), "crop": (224, 320), "channel_order": "bgr",
    "classes": "c.txt", "sample_rate": 16000, "tokenizer": "t.json", "max_length": 64,
    "label_column": "y", "provider": "cuda", "gram": "graph", "memory": 2**31,
    "scratch": "/tmp", "cache": "c", "target": "mnn", "chip": "nrf52840", "optimise": "size",
    "storage": "sparse", "values": "int8", "activations": "int8",
    "bound": True,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Two:
    """Two options, one of which says nothing of what depends on it."""

    new: int = option(3, "A number.", count(1))
    old: int | None = option(4, "Another.", count_or_all(1), affects=Affects.RUN)
    no_option: int = 5

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    ("name", "plain", "is_default"),
    [
        ("retrain_rate", "0.03", True),  # the default is a number, a command line has texts
        ("retrain_rate", "3%", True),
        ("retrain_rate", "0.3", False),
        ("op_types", "Conv,ConvTranspose,Gemm,MatMul,Einsum,LSTM,GRU,RNN", True),
        ("op_types", "Conv", False),
        ("method", "JOINT", True),
        ("positions", "all", False),
        ("exclude", [], True),
        ("refit", False, False),
    ],
)
def test_a_default_is_known_however_it_is_written(
    name: str, plain: object, is_default: bool
) -> None:
    assert OPTIONS[name].is_default(plain) is is_default


def test_every_option_has_another_value_here() -> None:
    assert list(OTHERS) == list(OPTIONS) == [f.name for f in dataclasses.fields(PruneConfig)]
    assert not any(OTHERS[name] == declared.default for name, declared in OPTIONS.items())


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_a_plain_form_that_gives_its_value_back(name: str) -> None:
    for value in (OTHERS[name], OPTIONS[name].default):
        config = PruneConfig(**{name: value})
        plain = to_plain(config)
        assert from_plain(PruneConfig, plain) == config
        assert json.loads(json.dumps(plain)) == plain  # numbers, texts, truth values, lists


def test_all_options_together_have_plain_forms_too() -> None:
    config = PruneConfig(**OTHERS)
    assert set(to_plain(config)) == set(OPTIONS)
    assert from_plain(PruneConfig, to_plain(config)) == config


def test_none_is_left_out_where_it_has_no_plain_form() -> None:
    plain = to_plain(PruneConfig(positions=None))
    assert plain["positions"] == "all"
    assert "sparsity" not in plain


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1, exclude_max=True)))
def test_fractions_by_glob_are_read_back_exactly(values: dict[str, float]) -> None:
    declared = OPTIONS["layer_sparsity"]
    found = declared.from_plain(declared.to_plain(values))
    assert list(found.items()) == list(values.items())


def test_an_option_that_says_nothing_affects_everything() -> None:
    declared = options_of(Two)
    assert declared["new"].affects is Affects.MOMENTS
    assert names_that_affect(declared, Affects.RUN) == ("old",)
    assert names_that_affect(declared, Affects.SOLVING, Affects.RUN) == ("old",)


def test_what_moments_of_a_cache_depend_on_and_what_nothing_in_it_does() -> None:
    assert set(names_that_affect(OPTIONS, Affects.MOMENTS)) >= {
        "batch_size", "gram", "input_shapes", "positions", "provider", "samples", "seed",
    }  # fmt: skip
    assert set(names_that_affect(OPTIONS, Affects.RUN)) >= {
        "bound", "cache", "correct", "memory", "score", "scratch", "storage", "time",
    }  # fmt: skip


def test_only_declared_fields_are_options() -> None:
    assert list(options_of(Two)) == ["new", "old"]
    assert take(Two, {"new": 9, "no_option": 9, "other": 9}) == Two(new=9)
    assert from_plain(Two, {"old": "all", "other": "x"}) == Two(old=None)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"new": 0}, "new is 0; it must be at least 1"),
        ({"old": 0}, "old is 0; it must be at least 1"),
    ],
)
def test_every_value_is_checked(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Two(**values)


def test_none_is_checked_where_it_is_not_allowed() -> None:
    with pytest.raises(ConfigError, match="method None is unknown; choose one of joint"):
        PruneConfig(method=None)  # type: ignore[arg-type]
    assert Two(old=None).old is None


def test_objects_share_no_default() -> None:
    assert PruneConfig().layer_sparsity is not PruneConfig().layer_sparsity


def test_the_most_used_are_ten_and_other_verbs_take_some() -> None:
    of_inspect = {"pattern", "include", "exclude", "op_types", "min_weights", "tied"}
    of_data = {*SAMPLE_OPTIONS, "samples", "input_shapes"}
    assert set(for_verb(OPTIONS, "inspect")) == of_inspect | of_data
    assert set(for_verb(OPTIONS, "evaluate")) == {
        "score", "samples", "batch_size", "input_shapes", "seed", "provider", "memory",
        *SAMPLE_OPTIONS,
    }  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_explained(name: str) -> None:
    declared: Option = OPTIONS[name]
    assert declared.help.endswith(".")
    assert declared.more == "" or declared.more.endswith(".")
    assert not declared.unset.endswith(".")
    assert declared.default is not None or declared.unset or name.startswith("max_")
    assert declared.panel
