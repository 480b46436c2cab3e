"""The scale of pictures is found with the dense model, where none was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, value
from onnx import helper
from PIL import Image

from onnx_lobs.data.kinds.pixel_values import PRESET_VALUES
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.samples import PRESETS
from onnx_lobs.run.preset_choice import choose_preset
from onnx_lobs.verbs.evaluate import evaluate
from onnx_lobs.verbs.prune import prune

SIDE = 4
COLOURS = ((10, 20, 10), (90, 80, 90), (170, 175, 160), (240, 250, 245))  # dark to bright
N = 32


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of four colours with noise, in a folder for each."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(N):
        colour = i % len(COLOURS)
        noise = rng.integers(-10, 11, (SIDE, SIDE, 3))
        pixels = np.clip(np.asarray(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
        path = folder / str(colour) / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def network(preset: str, *, normalised: bool = False, is_last: bool = False) -> onnx.ModelProto:
    """A classifier by the nearest colour, of pixels scaled as the preset says.

    Scores are minus the squared distance, up to what all classes share, times a hundred.
    """
    values = PRESET_VALUES[preset]
    factor, offset = values.affine(3, is_reversed=False)
    centres = np.asarray(COLOURS) * factor + offset
    weight = 2 * centres / 0.01 / factor.mean() ** 2 / 255**2
    bias = -(centres**2).sum(axis=1) / 0.01 / factor.mean() ** 2 / 255**2
    shape = ["N", SIDE, SIDE, 3] if is_last else ["N", 3, SIDE, SIDE]
    nodes, source = [], "image"
    weights = {"w": weight.astype(np.float32), "b": bias.astype(np.float32)}
    if normalised:
        # keeps what the pictures have, and gives them back as they are
        seen = np.asarray(COLOURS) * factor + offset
        mean, variance = seen.mean(axis=0), seen.var(axis=0)
        weights |= {
            "s": np.sqrt(variance).astype(np.float32), "o": mean.astype(np.float32),
            "m": mean.astype(np.float32), "v": variance.astype(np.float32),
        }  # fmt: skip
        inputs = ["image", "s", "o", "m", "v"]
        nodes.append(helper.make_node("BatchNormalization", inputs, ["n"], epsilon=0.0))
        source = "n"
    nodes += [
        helper.make_node("ReduceMean", [source], ["p"], axes=[1, 2] if is_last else [2, 3],
                         keepdims=0),
        helper.make_node("Gemm", ["p", "w", "b"], ["scores"], name="fc", transB=1),
    ]  # fmt: skip
    return model(
        nodes, [value("image", shape)], [value("scores", ["N", len(COLOURS)])], weights, opset=13
    )


def chosen(proto: onnx.ModelProto, *sources: Any, **options: Any) -> tuple[str | None, list[str]]:
    config, notes = choose_preset(load_model(proto), sources, PruneConfig(**options))
    return config.preset, notes


@pytest.mark.parametrize("preset", PRESETS)
def test_moments_of_a_normalisation_tell(pictures: Path, preset: str, tmp_path: Path) -> None:
    for path in pictures.rglob("*.png"):
        (tmp_path / path.name).symlink_to(path)
    found, (note,) = chosen(network(preset, normalised=True), tmp_path)
    assert found == preset
    assert f"scaled by --preset {preset} ('image' goes from" in note
    assert "looks most at home with it" in note


@pytest.mark.parametrize("preset", ["0-1", "-1-1"])
@pytest.mark.parametrize("is_last", [False, True])
def test_labels_tell_where_there_are_some(pictures: Path, preset: str, is_last: bool) -> None:
    found, (note,) = chosen(network(preset, is_last=is_last), None, pictures)
    assert found == preset
    assert "the dense model's top1 is best with it" in note


def test_what_was_given_is_taken_and_arrays_need_no_preset(pictures: Path) -> None:
    assert chosen(network("0-1"), pictures, preset="imagenet") == ("imagenet", [])
    assert chosen(network("0-1"), pictures, mean=(0.5,)) == (None, [])
    assert chosen(network("0-1"), np.zeros((4, 3, SIDE, SIDE), np.float32)) == (None, [])
    assert chosen(network("0-1"), None) == (None, [])


def test_where_nothing_tells_the_guess_is_called_one(pictures: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["image"], ["p"], axes=[1, 2, 3], keepdims=0)]
    shapes = value("image", ["N", 3, SIDE, SIDE]), value("p", ["N"])
    proto = model(nodes, shapes[:1], shapes[1:], {}, opset=13)
    found, (note,) = chosen(proto, pictures)
    assert found == "0-1"
    assert "a guess, as nothing in the model tells" in note


@pytest.mark.slow
def test_pruning_and_evaluating_show_the_preset_and_the_range(pictures: Path) -> None:
    proto = network("-1-1")
    options = {"min_weights": 0, "method": "magnitude", "sparsity": 0.25}
    result = prune(proto, pictures, test=pictures, **options)
    assert result.report.options["preset"] == "-1-1"
    assert any("--preset -1-1" in warning for warning in result.report.warnings)
    (seen,) = result.report.inputs
    assert (seen.low, seen.high) == pytest.approx((-1, 1), abs=0.1)  # of one batch
    assert result.report.output.score is not None
    assert result.report.output.score.before == 1
    record = evaluate(proto, result.model, pictures)
    assert any("--preset -1-1" in warning for warning in record.warnings)
    assert record.scores[0].before == 1
