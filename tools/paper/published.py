"""Holds the figures that the paper prints, to stand beside ours: arXiv 1705.07565."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row of Table 1: share kept and errors in per cent, iterations of retraining.

    None: the paper gives none.
    """

    kept: float
    pruned: float | None
    retrained: float
    steps: int


TABLE_1 = {
    ("LeNet-300-100", "random"): Published(8, 85.72, 2.25, 350_000),
    ("LeNet-300-100", "OBD"): Published(8, 86.72, 1.96, 81_000),
    ("LeNet-300-100", "LWC"): Published(8, 81.32, 1.95, 140_000),
    ("LeNet-300-100", "DNS"): Published(1.8, None, 1.99, 34_000),
    ("LeNet-300-100", "L-OBS"): Published(7, 3.10, 1.82, 510),
    ("LeNet-300-100", "L-OBS, iterative"): Published(1.5, 2.43, 1.96, 643),
    ("LeNet-5", "OBD"): Published(8, 86.72, 2.65, 290_000),
    ("LeNet-5", "LWC"): Published(8, 89.55, 1.36, 96_000),
    ("LeNet-5", "DNS"): Published(0.9, None, 1.36, 47_000),
    ("LeNet-5", "L-OBS"): Published(7, 3.21, 1.27, 740),
    ("LeNet-5", "L-OBS, iterative"): Published(0.9, 2.04, 1.66, 841),
}
DENSE = {"LeNet-300-100": 1.76, "LeNet-5": 1.27}

# Table 2, fc2 of LeNet-300-100: method, xi squared, error of the pruned network, share kept
TABLE_2 = (
    ("Net-Trim", 0.13, 13.24, 19.0),
    ("L-OBS", 0.70, 11.34, 3.4),
    ("L-OBS", 0.71, 10.83, 3.8),
    ("Net-Trim", 0.62, 28.45, 7.4),
    ("L-OBS", 0.37, 4.56, 7.4),
    ("Net-Trim", 0.71, 47.69, 4.2),
)

# appendix, fc1 of LeNet-300-100 alone, no retraining: accuracy read off the figure, by per cent
FC1_PRUNED = (50, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99)
FC1_CURVES = {
    "random": (.966, .931, .831, .685, .544, .526, .472, .380, .344, .284, .182, .114),
    "magnitude": (.978, .965, .926, .869, .805, .783, .731, .678, .633, .574, .479, .309),
    "apoz": (.981, .973, .951, .920, .881, .865, .828, .795, .764, .711, .627, .441),
    "lobs": (.983, .983, .983, .981, .976, .973, .964, .955, .935, .911, .843, .636),
}  # fmt: skip

# hours for all Hessian inverses, and what they were computed on
HOURS = {
    "AlexNet": (2.9, "48 cores"),
    "VGG-16": (10.2, "48 cores, two stages"),
    "ResNet-50": (33.0, "64 CPUs"),
}
