"""Export a HiFi-GAN-like generator with weight normalisation, and write data for it.

    python tools/make_hifigan.py --out /tmp/hifigan                        the default exporter
    python tools/make_hifigan.py --out /tmp/hifigan --exporter script      the TorchScript exporter
    python tools/make_hifigan.py --out /tmp/hifigan --norm parametrizations

Needs torch and onnxscript. Writes OUT/hifigan.onnx and OUT/hifigan_calibration.npz: noise that is
smooth in time, in place of mel spectrograms. The weights are random. Every convolution is
normalised, so its weight is computed from two constants in the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

MELS = 80
WIDTH = 128
UPSAMPLING = ((8, 16), (8, 16), (4, 8))  # stride, kernel
BLOCKS = ((3, (1, 3, 5)), (7, (1, 3, 5)))  # kernel, dilations
SLOPE = 0.1  # of the leaky ReLUs
BRANCH = 0.3  # gain of the convolutions whose output a shortcut is added to
FRAMES = 32
SMOOTHING = 4  # frames
OPSET = 18

Norm = Callable[[nn.Module], nn.Module]
NORMS: dict[str, Norm] = {"utils": weight_norm, "parametrizations": parametrizations.weight_norm}


def scaled(convolution: nn.Module, gain: float = 1.0) -> nn.Module:
    """Return a convolution with weights that keep values of order one, as training does."""
    weight = convolution.weight
    assert isinstance(weight, Tensor)
    nn.init.kaiming_normal_(weight, SLOPE)
    with torch.no_grad():
        weight *= gain
    return convolution


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair with a shortcut."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            norm(scaled(nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2)))
            for d in dilations
        )
        self.plain = nn.ModuleList(
            norm(scaled(nn.Conv1d(width, width, kernel, padding=(kernel - 1) // 2), BRANCH))
            for _ in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus what every pair adds."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            inner = dilated(nn.functional.leaky_relu(x, SLOPE))
            x = x + plain(nn.functional.leaky_relu(inner, SLOPE))
        return x


class Generator(nn.Module):
    """From mel frames (n, MELS, t) to samples (n, 1, 256 t)."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.first = norm(scaled(nn.Conv1d(MELS, WIDTH, 7, padding=3)))
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        width = WIDTH
        for stride, kernel in UPSAMPLING:
            pad = (kernel - stride) // 2
            up = scaled(nn.ConvTranspose1d(width, width // 2, kernel, stride, pad))
            self.up.append(norm(up))
            width //= 2
            self.blocks.append(nn.ModuleList(ResidualBlock(width, *b, norm) for b in BLOCKS))
        self.last = norm(scaled(nn.Conv1d(width, 1, 7, padding=3)))

    def forward(self, mel: Tensor) -> Tensor:
        """Return the waveform."""
        x = self.first(mel)
        for up, blocks in zip(self.up, self.blocks, strict=True):
            x = up(nn.functional.leaky_relu(x, SLOPE))
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return torch.tanh(self.last(nn.functional.leaky_relu(x, SLOPE)))


def export(path: Path, exporter: str, norm: str, seed: int) -> int:
    """Write the network; return how many convolutions it has."""
    torch.manual_seed(seed)
    network = Generator(NORMS[norm]).eval()
    example = (torch.randn(1, MELS, FRAMES),)
    names = {"input_names": ["mel"], "output_names": ["wave"]}
    if exporter == "script":
        axes = {"mel": {0: "n", 2: "t"}, "wave": {0: "n", 2: "samples"}}
        torch.onnx.export(
            network, example, str(path), dynamo=False, opset_version=OPSET, dynamic_axes=axes,
            do_constant_folding=False, **names,
        )  # fmt: skip
    else:
        torch.onnx.export(network, example, str(path), external_data=False, **names)
    return sum(isinstance(m, nn.Conv1d | nn.ConvTranspose1d) for m in network.modules())


def make_data(path: Path, samples: int, seed: int) -> None:
    """Write smooth noise (samples, MELS, FRAMES)."""
    noise = np.random.default_rng(seed).standard_normal((samples, MELS, FRAMES + SMOOTHING))
    sums = noise.cumsum(axis=2)
    smooth = (sums[..., SMOOTHING:] - sums[..., :-SMOOTHING]) / np.sqrt(SMOOTHING)
    np.savez(path, mel=smooth.astype(np.float32))


def main() -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--exporter", choices=("default", "script"), default="default")
    parser.add_argument("--norm", choices=tuple(NORMS), default="utils")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "hifigan.onnx"
    count = export(path, options.exporter, options.norm, options.seed)
    make_data(options.out / "hifigan_calibration.npz", options.samples, options.seed)
    print(f"{path}: {count} convolutions, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
