"""Makes the rows of Table 1: LeNets pruned by every system, then retrained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx

import onnx_lobs
from paper import dynamic
from paper.curvature import saliencies, surgeon_by_rows
from paper.networks import (
    DENSE_NETWORKS,
    INPUT,
    LENET_5,
    LENET_300,
    Mnist,
    dense_network,
    kept_share,
    tensors_of,
    test_error,
    with_tensors,
)
from paper.rows import (
    DECAY,
    GUO,
    HAN,
    LIGHT_BATCH,
    LONG_BATCH,
    LONG_RATE,
    SEEDS,
    SEVEN,
    STAGE_1,
    STAGE_2,
    Maker,
    Row,
    Shares,
    by_weight,
    light,
    pruned_by,
    pruned_row,
)
from paper.training import LabelCourse, largest, magnitudes_below, masked

CURVATURE = {LENET_300: 5_000, LENET_5: 1_000}  # training images for second derivatives
SURGEON = 2_000  # for the matrices of single neurons
DYNAMIC_STEPS = {LENET_300: (640, 34_000), LENET_5: (840, 12_000)}
SPLICING_DECAY = 0.003  # thresholds stay as they were, so a larger one leaves too few weights
THINNED_BATCH = {LENET_300: 1024, LENET_5: 256}  # chosen, as the decay, on training images
THINNED_DECAY = 0.05
SKINNY_STEPS = {LENET_300: 20_000, LENET_5: 7_000}


def at_random(model: onnx.ModelProto, mnist: Mnist, shares: Shares) -> onnx.ModelProto:
    """Return the network with weights drawn to be zero."""
    rng, values = np.random.default_rng(0), tensors_of(model)
    masks = {
        name: largest(rng.random(values[name].shape), share)
        for name, share in by_weight(model, shares).items()
    }
    return with_tensors(model, masked(values, masks))


def by_deviation(model: onnx.ModelProto, mnist: Mnist, shares: Shares) -> onnx.ModelProto:
    """Return the network without weights below s deviations of their layer (Han et al. 2015).

    s of a layer is what leaves it the share that is given: only the mask counts afterwards.
    """
    masks = magnitudes_below(model, by_weight(model, shares))
    return with_tensors(model, masked(tensors_of(model), masks))


def by_damage(
    model: onnx.ModelProto, mnist: Mnist, shares: Shares | float, network: str
) -> onnx.ModelProto:
    """Return the network without the weights of least ``½ h w²``: of each layer, or of all."""
    found = saliencies(model, mnist.images[: CURVATURE[network]])
    if isinstance(shares, float):
        flat = largest(np.concatenate([s.reshape(-1) for s in found.values()]), shares)
        parts = np.split(flat, np.cumsum([s.size for s in found.values()])[:-1])
        masks = {
            name: part.reshape(s.shape)
            for (name, s), part in zip(found.items(), parts, strict=True)
        }
    else:
        kept = by_weight(model, shares)
        masks = {name: largest(s, kept[name]) for name, s in found.items()}
    return with_tensors(model, masked(tensors_of(model), masks))


def by_surgeon(model: onnx.ModelProto, mnist: Mnist, shares: Shares) -> onnx.ModelProto:
    """Return the network pruned by OBS, with the loss's own matrix for each neuron."""
    return surgeon_by_rows(model, by_weight(model, shares), mnist.images[:SURGEON])


def dynamic_row(network: str, origin: str, method: str, steps: int, mnist: Mnist) -> Row:
    """Return a row of what prunes while it trains: ``DNS`` or ``skinny``."""
    dense = dense_network(network, origin, mnist.folder)
    train, shares = (dynamic.surgery, GUO) if method == "DNS" else (dynamic.skinny, HAN)
    decay = SPLICING_DECAY if method == "DNS" else DECAY
    course = LabelCourse(steps, LONG_RATE, LONG_BATCH, decay)
    first, last = train(dense, by_weight(dense, shares[network]), mnist, course)
    return Row(
        "1", network, origin, method, 100 * kept_share(last), test_error(dense, mnist),
        test_error(first, mnist), {str(steps): test_error(last, mnist)},
        {"kept at first": 100 * kept_share(first)},
    )  # fmt: skip


def iterative_row(
    network: str,
    origin: str,
    method: str,
    stages: tuple[tuple[Shares, int], ...],
    mnist: Mnist,
    rate: float = 0.03,
) -> Row:
    """Return a row of pruning and retraining in turns; `pruned` is the last stage's error."""
    dense = model = dense_network(network, origin, mnist.folder)
    errors, steps = [], 0
    for shares, more in stages:
        pruned = pruned_by(model, mnist, method, shares)
        model = light(pruned, mnist, more, LIGHT_BATCH[network], rate)
        steps += more
        errors.append(
            [100 * kept_share(pruned), test_error(pruned, mnist), test_error(model, mnist)]
        )
    return Row(
        "1", network, origin, f"{method}, {len(stages)} stages", errors[-1][0],
        test_error(dense, mnist), errors[-1][1], {str(steps): errors[-1][2]}, {"stages": errors},
    )  # fmt: skip


def thinned_row(
    network: str, origin: str, method: str, steps: int, mnist: Mnist, least: float | None = None
) -> Row:
    """Return a row of pruning once and then on and on in one retraining, mean of its seeds.

    All layers are compared with each other; the share `least` stays of all weights, or as many as
    STAGE_2 keeps.
    """
    dense = dense_network(network, origin, mnist.folder)
    first = pruned_by(dense, mnist, method, STAGE_1[network])
    shares, values = by_weight(dense, STAGE_2[network]), tensors_of(dense)
    sizes = {name: values[name].size for name in shares}
    kept = sum(round(share * sizes[name]) for name, share in shares.items()) / sum(sizes.values())
    kept = kept if least is None else least
    data = {INPUT: mnist.images, "label": mnist.labels}
    models = [
        onnx_lobs.retrain(
            first, data, steps=steps, towards="labels", batch_size=THINNED_BATCH[network],
            sparsity=1 - kept, decay=THINNED_DECAY, seed=seed,
        ).model
        for seed in SEEDS
    ]  # fmt: skip
    errors = [test_error(model, mnist) for model in models]
    each = [np.count_nonzero(tensors_of(models[0])[name]) / size for name, size in sizes.items()]
    facts = {
        "seeds": errors, "kept at first": 100 * kept_share(first),
        "pruned at first": test_error(first, mnist), "kept of layers": [100 * e for e in each],
    }  # fmt: skip
    return Row(
        "1", network, origin, thinned_name(method, least), 100 * kept_share(models[0]),
        test_error(dense, mnist), None, {str(steps): float(np.mean(errors))}, facts,
    )  # fmt: skip


def thinned_name(method: str, least: float | None) -> str:
    """Return what a row of :func:`thinned_row` is called."""
    return f"{method}, thinned" + ("" if least is None else f" to {100 * least:g} %")


def geometric_stages(
    first: Shares, last: Shares, steps: tuple[int, ...]
) -> tuple[tuple[Shares, int], ...]:
    """Return stages whose shares fall by equal factors, each with its steps."""
    parts = np.linspace(0, 1, len(steps))
    shares = [
        tuple(float(a ** (1 - part) * b**part) for a, b in zip(first, last, strict=True))
        for part in parts
    ]
    return tuple(zip(shares, steps, strict=True))


def rows_of(network: str, origin: str) -> dict[str, Maker]:
    """Return what makes the rows of a network, by a name for each."""
    stage_1, seven, han = STAGE_1[network], SEVEN[network], HAN[network]
    pruners = {
        # the paper trains random zeros of LeNet-300-100 alone for long
        "random": (partial(at_random, shares=han), network == LENET_300),
        "LWC": (partial(by_deviation, shares=han), True),
        "LWC, stage 1": (partial(by_deviation, shares=stage_1), False),
        "OBD": (partial(by_damage, shares=han, network=network), True),
        "OBD, all layers together": (partial(by_damage, shares=0.08, network=network), False),
        "OBD, stage 1": (partial(by_damage, shares=stage_1, network=network), False),
        "correlation, stage 1": (_own("correlation", stage_1, refit=False), False),
        "apoz, stage 1": (_own("apoz", stage_1, refit=False), False),
        "lobs, stage 1": (_own("lobs", stage_1), True),
        "lobs, 7 %": (_own("lobs", seven), False),
        "exact-obs, stage 1": (_own("exact-obs", stage_1), False),
        "joint, stage 1": (_own("joint", stage_1), True),
        "joint, 7 %": (_own("joint", seven), False),
    }
    if network == LENET_300:
        pruners["OBS by neurons, stage 1"] = (partial(by_surgeon, shares=stage_1), False)
    found: dict[str, Maker] = {}
    for name, (prune, long) in pruners.items():
        row = partial(pruned_row, "1", network, origin, name, prune)
        found[name] = partial(row, long=False)
        if long:
            found[f"{name}, long"] = partial(row, long=True)
    for steps in DYNAMIC_STEPS[network]:
        found[f"DNS, {steps}"] = partial(dynamic_row, network, origin, "DNS", steps)
    found["skinny"] = partial(dynamic_row, network, origin, "skinny", SKINNY_STEPS[network])
    last = STAGE_2[network]
    steps = {LENET_300: (200, 443), LENET_5: (400, 441)}[network]
    many = {LENET_300: (80,) * 5 + (243,), LENET_5: (100,) * 5 + (341,)}[network]
    for method in ("lobs", "joint"):
        two = tuple(zip((stage_1, last), steps, strict=True))
        six = geometric_stages(stage_1, last, many)
        found[f"{method}, 2 stages"] = partial(iterative_row, network, origin, method, two)
        found[f"{method}, 6 stages"] = partial(iterative_row, network, origin, method, six)
        for least in (None, 0.009) if network == LENET_5 and method == "joint" else (None,):
            found[thinned_name(method, least)] = partial(
                thinned_row, network, origin, method, sum(steps), least=least
            )
    return found


def _own(method: str, shares: Shares, **options: bool) -> Callable[..., onnx.ModelProto]:
    return partial(pruned_by, method=method, shares=shares, **options)


def all_rows() -> dict[str, Maker]:
    """Return what makes the rows, by a name for each."""
    return {
        f"1/{network} {origin}/{name}": maker
        for network, origin in DENSE_NETWORKS
        for name, maker in rows_of(network, origin).items()
    }
