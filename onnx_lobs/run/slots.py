"""Works out what the options ask of the layers: sparsities of their own, and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx_lobs.allocation.rules import Slot
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import matcher
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.patterns import Pattern

DEFAULT_SPARSITY = 0.5


def wanted_sparsity(config: PruneConfig, pattern: Pattern) -> float:
    """Return the fraction of zeros asked for: N:M has its own, else 0.5 is the default.

    Raises
    ------
    ConfigError
        When a sparsity, or a limit, is given and the pattern has one of its own, as N:M has.
    """
    own = pattern.own_sparsity
    if own is None:
        return DEFAULT_SPARSITY if config.sparsity is None else config.sparsity
    of_layers = config.layer_sparsity or config.layer_min or config.layer_max
    if of_layers or (config.sparsity is not None and config.sparsity != own):
        raise ConfigError(
            f"pattern {pattern} has {own:g} zeros in every layer; leave out --sparsity, "
            "--layer-sparsity, --layer-min and --layer-max, or choose another pattern"
        )
    return own


def make_slots(
    layers: Sequence[Layer],
    config: PruneConfig,
    skips: Sequence[Skip] = (),
    present: Sequence[int] | None = None,
) -> list[Slot]:
    """Return the layers as the allocation sees them.

    Parameters
    ----------
    layers
        Not modified.
    config
        Its limits and sparsities of layers count.
    skips
        Why others are not among them.
    present
        Zeros that each layer has already; None: none.

    Raises
    ------
    ConfigError
        When a pattern of ``layer_sparsity``, ``layer_min`` or ``layer_max`` matches no layer, or
        a layer's least sparsity is above its largest.
    """
    fixed = _by_pattern("layer sparsity", config.layer_sparsity, layers, skips)
    least = _by_pattern("layer min", config.layer_min, layers, skips)
    most = _by_pattern("layer max", config.layer_max, layers, skips)
    slots = []
    for layer, n_present in zip(layers, present or [0] * len(layers), strict=True):
        geometry = layer.uses[0].unfold
        layout = layer.layout
        slots.append(
            Slot(
                (layout.groups, layout.rows, layout.columns),
                layer.kernel_size,
                () if geometry is None else geometry.kernel,
                fixed.get(layer_key(layer)),
                *_limits(layer, least, most),
                present=n_present,
            )
        )
    return slots


def present_zeros(model: Model, layers: Sequence[Layer], pattern: Pattern) -> list[int]:
    """Return how many zeros of a pattern each layer has. Cost: every weight is read once."""
    found = []
    for layer in layers:
        tensor = model.constant(model.scopes[layer.scope], layer.weight)
        assert tensor is not None
        matrix = layer.layout.to_matrix(layer.chain.apply(model.value(tensor)))
        found.append(pattern.n_present(matrix == 0, layer.kernel_size))
    return found


def _by_pattern(
    what: str, wanted: Mapping[str, float], layers: Sequence[Layer], skips: Sequence[Skip]
) -> dict[str, float]:
    """Return the values of the layers, by key, whose names match; the last match wins."""
    found: dict[str, float] = {}
    for pattern, value in wanted.items():
        test = matcher(pattern)
        hit = [layer for layer in layers if any(test(name) for name in layer.names)]
        if not hit:
            raise ConfigError(
                f"{what} {pattern!r} matches no layer that is pruned; "
                f"{_instead(test, layers, skips)}"
            )
        found |= {layer_key(layer): value for layer in hit}
    return found


def _instead(test: Callable[[str], bool], layers: Sequence[Layer], skips: Sequence[Skip]) -> str:
    """Return why a node whose name passes the test is not pruned, or else some that are."""
    for skip in skips:
        if test(skip.node):
            return f"{skip.node} is not, because: {skip.reason}"
    return f"there are: {', '.join(layer.name for layer in layers[:5])} ..."


def _limits(
    layer: Layer, least: Mapping[str, float], most: Mapping[str, float]
) -> tuple[float, float]:
    """Return the least and the largest sparsity of a layer."""
    key = layer_key(layer)
    low, high = least.get(key, 0.0), most.get(key, 1.0)
    if low > high:
        raise ConfigError(
            f"layer {layer.name!r} has layer min {low:g} above layer max {high:g}; change one"
        )
    return low, high


def layer_key(layer: Layer) -> str:
    """Return what identifies a layer within its model."""
    return f"{layer.scope}:{layer.weight}"
