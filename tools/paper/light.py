"""Makes the rows of light retraining: what is learnt, how many images a step sees, and how sure.

Two tables. *light*: each network at 7 % of its weights, retrained towards labels, the dense
network's classes or its outputs, one seed, all training images. *courses*: LeNet-5 retrained on
the first 50,000 training images by several seeds. The other 10,000 training images tell which
course is better, so the test images choose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx

import onnx_lobs
from onnx_lobs.arrays import Array
from paper.networks import (
    DENSE_NETWORKS,
    INPUT,
    LENET_5,
    LENET_300,
    OURS,
    Mnist,
    dense_network,
    kept_share,
    run_on,
    test_error,
)
from paper.rows import LIGHT_BATCH, SEEDS, SEVEN, SHORT, STAGE_1, Maker, Row, Shares, pruned_by

AIMS = ("labels", "classes", "outputs")
FEW = LIGHT_BATCH[LENET_5]  # images of a step
BATCHES: dict[str, tuple[int | None, ...]] = {LENET_300: (None,), LENET_5: (FEW, None)}

LEARNT = 50_000  # of the training images, in order; the others judge the courses

# LeNet-5 at .9 % of all weights: the paper's table 4 keeps 1.01 %, so less of fc1 here
FC1_LESS: Shares = (0.2, 0.01, 0.00781, 0.08)
# what a course is named, how it prunes, and the shares kept in each stage with its steps
PRUNED: dict[str, tuple[str, tuple[tuple[Shares, int], ...]]] = {
    "7 % by lobs": ("lobs", ((SEVEN[LENET_5], SHORT[LENET_5][0]),)),
    "7 % by joint": ("joint", ((SEVEN[LENET_5], SHORT[LENET_5][0]),)),
    "0.9 % by joint": ("joint", ((STAGE_1[LENET_5], 400), (FC1_LESS, 441))),
}
# what the courses learn, and from how many images a step. At .9 % thinning does so much better
# that eight minutes of a core for each further course of stages are not worth it
COURSES: dict[str, tuple[tuple[str, ...], tuple[int | None, ...]]] = {
    "7 % by lobs": (AIMS, (FEW,)),
    "7 % by joint": (("labels", "classes"), (FEW, None)),
    "0.9 % by joint": (("labels", "outputs"), (FEW,)),
}


@dataclass(frozen=True)
class LightCourse:
    """How a light retraining runs.

    Parameters
    ----------
    steps
        Most that are taken.
    towards
        What is learnt, one of AIMS.
    batch
        Images of a step; None: as many as the program takes by itself, 512 here.
    seed
        Of the order of batches and of what is held out.
    images
        How many of the first training images are given.
    """

    steps: int
    towards: str = "labels"
    batch: int | None = None
    seed: int = 0
    images: int = 60_000


def lightly(
    pruned: onnx.ModelProto, dense: onnx.ModelProto, mnist: Mnist, course: LightCourse
) -> onnx.ModelProto:
    """Return the pruned network retrained; labels are given only where they are learnt."""
    data = {INPUT: mnist.images[: course.images]}
    if course.towards == "labels":
        data["label"] = mnist.labels[: course.images]
    return onnx_lobs.retrain(
        pruned, data, dense=dense, steps=course.steps, towards=course.towards,
        batch_size=course.batch, seed=course.seed,
    ).model  # fmt: skip


def aims_row(network: str, origin: str, method: str, batch: int | None, mnist: Mnist) -> Row:
    """Return the errors of a network at 7 % of its weights, retrained towards each aim."""
    dense = dense_network(network, origin, mnist.folder)
    pruned = pruned_by(dense, mnist, method, SEVEN[network])
    steps, errors = SHORT[network][0], {}
    for towards in AIMS:
        course = LightCourse(steps, towards, batch)
        errors[towards] = test_error(lightly(pruned, dense, mnist, course), mnist)
    return Row(
        "light", network, origin, method, 100 * kept_share(pruned), test_error(dense, mnist),
        test_error(pruned, mnist), {}, {"batch": batch, "steps": steps, "errors": errors},
    )  # fmt: skip


def judged(model: onnx.ModelProto, images: Array, labels: Array) -> tuple[float, float]:
    """Return the share of wrong answers in per cent, and the mean cross entropy."""
    scores = run_on(model, images).astype(np.float64)
    scores -= scores.max(1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    wrong = 100 * float((scores.argmax(1) != labels).mean())
    return wrong, -float(logs[np.arange(len(labels)), labels].mean())


def course_row(name: str, course: LightCourse, mnist: Mnist) -> Row:
    """Return LeNet-5 pruned and retrained in stages, by every seed.

    `pruned` and `retrained` are means of the errors on the test images; `facts` have the single
    ones, and those of the training images that were held out, with their cross entropy.
    """
    dense, (method, stages) = dense_network(LENET_5, OURS, mnist.folder), PRUNED[name]
    first = pruned_by(dense, mnist, method, stages[0][0])
    found: dict[str, list[float]] = {key: [] for key in ("pruned", "test", "held out", "loss")}
    for seed in SEEDS:
        model = first
        for number, (shares, steps) in enumerate(stages):
            pruned = pruned_by(model, mnist, method, shares) if number else first
            part = replace(course, steps=steps, seed=seed, images=LEARNT)
            model = lightly(pruned, dense, mnist, part)
        wrong, loss = judged(model, mnist.images[LEARNT:], mnist.labels[LEARNT:])
        errors = test_error(pruned, mnist), test_error(model, mnist), wrong, loss
        for key, value in zip(found, errors, strict=True):
            found[key].append(round(value, 5))
    total = sum(steps for _, steps in stages)
    return Row(
        "courses", LENET_5, OURS, name, 100 * kept_share(model), test_error(dense, mnist),
        float(np.mean(found["pruned"])), {str(total): float(np.mean(found["test"]))},
        {"towards": course.towards, "batch": course.batch, **found},
    )  # fmt: skip


def all_rows() -> dict[str, Maker]:
    """Return what makes the rows, by a name for each."""
    found: dict[str, Maker] = {}
    for network, origin in DENSE_NETWORKS:
        for method in ("lobs", "joint"):
            for batch in BATCHES[network]:
                key = f"light/{network} {origin}/{method}, {batch or 'default'}"
                found[key] = partial(aims_row, network, origin, method, batch)
    for name, (aims, batches) in COURSES.items():
        for towards in aims:
            for batch in batches:
                course = LightCourse(0, towards, batch)
                key = f"courses/{name}, {towards}, {batch or 'default'}"
                found[key] = partial(course_row, name, course)
    return found
