"""Decides how a run works: on which network's inputs, where Grams are made, by which loops."""

from __future__ import annotations

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.run.session import PROVIDER_NAMES
from onnx_lobs.linalg import compiled
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.setup import Setup
from onnx_lobs.solvers import METHODS

COMPILED_FROM = 1_000_000  # weights: with fewer, compiling takes longer than it saves
COMPILED_MEMORY = 4 << 30  # bytes: of less, the 128 MB that the compiler takes are too large a part


def is_sequential(config: PruneConfig) -> bool:
    """Whether layers see the pruned network's inputs."""
    wanted = config.sequential
    return METHODS[config.method].wants_sequential if wanted is None else wanted


def check_modes(config: PruneConfig) -> None:
    """Raise ConfigError when the graph is to compute Grams that it cannot.

    In sequential mode they need the pre-activations of two networks at once.
    """
    if is_sequential(config) and config.gram == "graph":
        raise ConfigError(
            "gram 'graph' is not possible in sequential mode, which compares two networks; "
            "add --independent (sequential=False), or use --gram numpy or auto"
        )


def uses_graph(config: PruneConfig, provider: str) -> bool:
    """Whether the graph itself computes the Grams that it can, on a provider with this full name.

    It does in independent mode only.
    """
    if is_sequential(config):
        return False
    return config.gram == "graph" or (config.gram == "auto" and provider != PROVIDER_NAMES["cpu"])


def is_compiled(setup: Setup) -> bool:
    """Whether loops are compiled: where they can be, in networks and memory that are not small."""
    memory = setup.config.memory
    has_memory = memory is None or memory >= COMPILED_MEMORY
    is_large = sum(layer.size for layer in setup.layers) >= COMPILED_FROM
    return has_memory and is_large and compiled.is_available()


def corrects(config: PruneConfig) -> bool:
    """Whether means and variances are corrected behind the layers that changed."""
    if config.correct is not None:
        return config.correct
    # in sequential mode every bias is refitted behind the others
    return refits(config) and not is_sequential(config)


def refits(config: PruneConfig) -> bool:
    """Whether the exact refit of the kept weights ends every layer."""
    return METHODS[config.method].is_refitted(config.refit)
