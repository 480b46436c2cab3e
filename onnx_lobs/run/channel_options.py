"""Checks the options that do not go together with whole channels."""

from __future__ import annotations

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig, is_channels


def check_channels(config: PruneConfig) -> None:
    """Raise ConfigError when options contradict whole channels, or ask for them without."""
    if not is_channels(config):
        alone = {
            "align": config.align is not None,
            "budget": config.budget in ("channels", "latency"),
        }
        alone["channel choice"] = config.channel_choice != "obs"
        for name, is_given in alone.items():
            if is_given:
                raise ConfigError(f"{name} is for whole channels; add --pattern channels")
        return
    others = {
        "--budget weights": config.budget == "weights",
        "--layer-sparsity, --layer-min and --layer-max": bool(
            config.layer_sparsity or config.layer_min or config.layer_max
        ),
        "--cache": config.cache is not None,
        "--max-bytes": config.max_bytes is not None,
        "--values int8": config.values != "fp32",
        "--activations int8": config.activations == "int8",
        "--correct": bool(config.correct),
        "--allocation erk": config.allocation == "erk",
    }
    for name, is_given in others.items():
        if is_given:
            raise ConfigError(
                f"pattern channels does not go with {name}; leave that out, or take channels away "
                "first and prune the smaller model's weights in a second run"
            )
