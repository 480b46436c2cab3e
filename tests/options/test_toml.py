"""A TOML file holds every option, and gives each value back."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import from_plain, to_plain
from onnx_lobs.options.toml import read_toml, write_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VALUES: dict[str, Any] = {
    "sparsity": 0.8, "max_bytes": 500_000, "layer_sparsity": {"*a=b*": 0.7, 're:"\\d': 0.1 + 0.2},
    "exclude": ("*", "ä'\t"), "op_types": ("Gemm", "Conv"), "refit": False, "seed": 7,
    "positions": None, "input_shapes": {"a:0": (1, 3)}, "storage": "sparse", "bound": True,
}  # fmt: skip


def read(text: str) -> dict[str, Any]:
    return read_toml(text, OPTIONS, "run.toml")


@pytest.mark.parametrize("config", [PruneConfig(), PruneConfig(**VALUES)], ids=["plain", "other"])
def test_what_is_written_is_read_again(config: PruneConfig) -> None:
    text = write_toml(OPTIONS.values(), to_plain(config))
    assert from_plain(PruneConfig, read(text)) == config


def test_every_option_stands_there_with_a_comment() -> None:
    lines = write_toml(OPTIONS.values(), {}).splitlines()
    for name in OPTIONS:
        (at,) = [i for i, line in enumerate(lines) if line.lstrip("# ").startswith(f"{name} = ")]
        assert lines[at - 1].startswith("# ")
    without = [line.removeprefix("# ") if " = " in line else line for line in lines]
    assert set(tomllib.loads("\n".join(without))) == set(OPTIONS)  # such a line needs no more


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_kept(text: str) -> None:
    assert read(write_toml([OPTIONS["include"]], {"include": [text]})) == {"include": [text]}


@pytest.mark.parametrize("key", ["storage", "format", "layer-sparsity", "layer_sparsity"])
def test_a_key_may_be_the_name_of_the_command_line(key: str) -> None:
    value = '["*=0.5"]' if "layer" in key else '"sparse"'
    assert list(read(f"{key} = {value}")) in (["storage"], ["layer_sparsity"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("sparsty = 0.5", "run.toml: option 'sparsty' is unknown; did you mean sparsity"),
        ("device = 'cuda'", "did you mean provider"),
        ("[prune]\nsparsity = 1", "option 'prune' is unknown"),
        ("sparsity = ", "run.toml is no TOML"),
        ("seed = 1.5", "seed is 1.5; write a whole number"),
        ("seed = true", "seed is True; write a whole number"),
        ("refit = 'yes'", "refit is 'yes'; write true or false"),
        ("exclude = 'a'", "exclude is 'a'; write a list of texts"),
        ("exclude = [1]", r"exclude is \[1\]; write a list of texts"),
        ("sparsity = [1]", r"sparsity is \[1\]; write a text such as"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read(text)
