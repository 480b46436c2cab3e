"""From the texts on the command line to a PruneConfig."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig, parse_bytes


def to_config(options: Mapping[str, Any]) -> PruneConfig:
    """Return the configuration that parsed options stand for.

    Parameters
    ----------
    options
        Values by the name of the field, as the command line gives them: patterns and shapes
        as lists of texts, operators as one text. Other keys are passed over, missing ones
        take the default. Not modified.

    Raises
    ------
    ConfigError
        When a value cannot be parsed or is out of its range.
    """
    given = {f.name: options[f.name] for f in fields(PruneConfig) if f.name in options}
    parsers: dict[str, Callable[[Any], object]] = {
        "layer_sparsity": partial(_parse_layers, "layer sparsity"),
        "layer_min": partial(_parse_layers, "layer min"),
        "layer_max": partial(_parse_layers, "layer max"),
        "input_shapes": _parse_input_shapes,
        "include": tuple,
        "exclude": tuple,
        "op_types": _parse_op_types,
        "memory": _parse_size,
        "max_bytes": _parse_size,
        "positions": _parse_positions,
    }
    for name, parse in parsers.items():
        if name in given:
            given[name] = parse(() if given[name] is None else given[name])
    return PruneConfig(**given)


def _parse_size(text: str | int) -> int | None:
    if isinstance(text, int):
        return text
    return parse_bytes(text) if text else None


def _parse_positions(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise ConfigError(
            f"positions {text!r} is not understood; write a number such as 32, or all"
        )
    return int(text)


def _parse_layers(what: str, texts: Sequence[str]) -> dict[str, float]:
    result: dict[str, float] = {}
    for text in texts:
        glob, _, fraction = text.rpartition("=")
        try:
            value = float(fraction)
        except ValueError as error:
            raise _not_understood(what, text) from error
        if not glob:
            raise _not_understood(what, text)
        result.pop(glob, None)  # a glob given again moves to the end: the last match wins
        result[glob] = value
    return result


def _not_understood(what: str, text: str) -> ConfigError:
    return ConfigError(f"{what} {text!r} is not understood; write GLOB=0.7")


def _parse_input_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    if not texts:
        return {}
    from onnx_lobs.data.synthetic import parse_input_shape

    return dict(map(parse_input_shape, texts))


def _parse_op_types(text: str | Sequence[str]) -> tuple[str, ...]:
    ops = tuple(op.strip() for op in text.split(",")) if isinstance(text, str) else tuple(text)
    if not any(ops):
        raise ConfigError(f"no op types were given; choose from {','.join(PruneConfig().op_types)}")
    return ops
