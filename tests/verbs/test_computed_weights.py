"""A vocoder whose weights are all normalised is pruned as if they were stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import initializer, model, normal, run, value
from onnx import ModelProto, NodeProto, helper

import onnx_lobs
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.layers.fold import fold_weights
from onnx_lobs.verbs.evaluate import evaluate
from onnx_lobs.verbs.inspect import inspect
from onnx_lobs.verbs.prune import prune_file

NODE = helper.make_node
MELS, WIDTH, FRAMES = 6, 8, 12
QUICK = {
    "samples": 8, "batch_size": 4, "allocation": "uniform", "method": "sparsegpt", "min_weights": 1,
}  # fmt: skip
LENET = Path(__file__).parents[2] / "models" / "mnist" / "lenet-5.onnx"


class Generator:
    """Collects the nodes of a HiFi-GAN-like generator as PyTorch's exporter writes them."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights = {"axes": np.array([1, 2], np.int64)}

    def conv(
        self, x: str, name: str, shape: tuple[int, ...], op: str = "Conv", **more: object
    ) -> str:
        """Add a convolution with a normalised weight and a bias."""
        seed = len(self.nodes)
        direction, gain = f"{name}.weight_v", f"{name}.weight_g"
        self.weights[direction] = normal(seed, *shape)
        self.weights[gain] = 1 + np.abs(normal(seed + 1, shape[0], 1, 1))
        self.weights[f"{name}.bias"] = normal(seed + 2, shape[1 if op == "ConvTranspose" else 0])
        self.nodes += [
            NODE("ReduceL2", [direction, "axes"], [f"{name}.norm"], keepdims=1),
            NODE("Div", [gain, f"{name}.norm"], [f"{name}.scale"]),
            NODE("Mul", [direction, f"{name}.scale"], [f"{name}.weight"]),
            NODE(op, [x, f"{name}.weight", f"{name}.bias"], [f"{name}.out"], name=name, **more),
        ]
        return f"{name}.out"

    def relu(self, x: str) -> str:
        """Add a leaky ReLU."""
        self.nodes.append(NODE("LeakyRelu", [x], [f"{x}.relu"], alpha=0.1))
        return f"{x}.relu"

    def block(self, x: str, name: str, width: int) -> str:
        """Add residual pairs of a dilated and a plain convolution."""
        for d in (1, 3):
            inner = self.conv(
                self.relu(x), f"{name}.dilated{d}", (width, width, 3), dilations=[d], pads=[d, d]
            )
            inner = self.conv(self.relu(inner), f"{name}.plain{d}", (width, width, 3), pads=[1, 1])
            self.nodes.append(NODE("Add", [x, inner], [f"{name}.sum{d}"]))
            x = f"{name}.sum{d}"
        return x

    def built(self) -> ModelProto:
        """Return the network: two upsampling stages."""
        x = self.conv("mel", "first", (WIDTH, MELS, 3), pads=[1, 1])
        width = WIDTH
        for stage in range(2):
            x = self.conv(
                self.relu(x), f"up{stage}", (width, width // 2, 4), "ConvTranspose",
                strides=[2], pads=[1, 1],
            )  # fmt: skip
            width //= 2
            x = self.block(x, f"block{stage}", width)
        x = self.conv(self.relu(x), "last", (1, width, 3), pads=[1, 1])
        self.nodes.append(NODE("Tanh", [x], ["wave"]))
        inputs = [value("mel", ["n", MELS, "t"])]
        return model(self.nodes, inputs, ["wave"], self.weights, opset=18)


GENERATOR = Generator().built()
CONVOLUTIONS = [n.name for n in GENERATOR.graph.node if n.op_type.startswith("Conv")]
DATA = {"mel": normal(5, 8, MELS, FRAMES)}


def test_folding_changes_no_bit_of_weights_or_output() -> None:
    loaded = load_model(GENERATOR)
    found = fold_weights(loaded)
    assert found.weights == tuple(f"{name}.weight" for name in CONVOLUTIONS)
    shown = ModelProto()
    shown.CopyFrom(GENERATOR)
    shown.graph.output.extend(value(name) for name in found.weights)
    computed = run(shown, **DATA)
    for name in found.weights:
        assert initializer(loaded.proto, name).tobytes() == computed[name].tobytes()
    assert np.array_equal(run(loaded.proto, **DATA)["wave"], computed["wave"])
    assert {n.op_type for n in loaded.proto.graph.node} == {
        "Conv", "ConvTranspose", "LeakyRelu", "Add", "Tanh",
    }  # fmt: skip
    assert loaded.proto.ByteSize() < GENERATOR.ByteSize()


@pytest.mark.slow
def test_all_convolutions_are_pruned() -> None:
    result = onnx_lobs.prune(GENERATOR, DATA, sparsity=0.5, **QUICK)
    assert [record.name for record in result.report.layers] == CONVOLUTIONS
    assert result.report.skipped == ()
    for record in result.report.layers:
        zeros = np.mean(initializer(result.model, f"{record.name}.weight") == 0)
        assert zeros == pytest.approx(0.5, abs=0.5 / record.weights)
    (note,) = [w for w in result.report.warnings if "stored folded" in w]
    assert f"{len(CONVOLUTIONS)} weights were computed from constants" in note
    onnx.checker.check_model(result.model, full_check=True)


@pytest.mark.slow
def test_the_result_is_that_of_a_model_folded_before() -> None:
    loaded = load_model(GENERATOR)
    fold_weights(loaded)
    before = onnx_lobs.prune(loaded.proto, DATA, sparsity=0.5, **QUICK)
    within = onnx_lobs.prune(GENERATOR, DATA, sparsity=0.5, **QUICK)
    assert within.model.SerializeToString() == before.model.SerializeToString()


def test_inspect_says_the_same_as_prune() -> None:
    seen = inspect(GENERATOR, onnx_lobs.PruneConfig(sparsity=0.5, **QUICK))
    report = onnx_lobs.prune(GENERATOR, DATA, sparsity=0.5, **QUICK).report
    assert [(r.name, r.op, r.weights) for r in seen.layers] == [
        (r.name, r.op, r.weights) for r in report.layers
    ]
    assert seen.skipped == report.skipped
    assert set(seen.warnings) <= set(report.warnings)


@pytest.mark.slow
def test_layers_that_options_leave_dense_are_refused_for_that_reason() -> None:
    report = onnx_lobs.prune(GENERATOR, DATA, sparsity=0.5, exclude=["up*"], **QUICK).report
    assert {skip.reason for skip in report.skipped} == {"excluded by name"}
    assert len(report.skipped) == 2


@pytest.mark.slow
def test_the_file_holds_stored_weights_and_evaluates_against_its_origin(tmp_path: Path) -> None:
    path, output = tmp_path / "m.onnx", tmp_path / "pruned.onnx"
    onnx.save(GENERATOR, path)
    config = onnx_lobs.PruneConfig(sparsity=0.5, **QUICK)
    prune_file(path, output, config, data=DATA)
    assert inspect(output).warnings == ()
    found = evaluate(path, output, DATA)
    assert found.dense.weights == found.pruned.weights
    assert found.pruned.zeros / found.pruned.weights == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_external_weights_are_folded_into_the_new_data_file(tmp_path: Path) -> None:
    path, output = tmp_path / "m.onnx", tmp_path / "pruned.onnx"
    own = ModelProto.FromString(GENERATOR.SerializeToString())  # which saving changes
    onnx.save(own, path, save_as_external_data=True, location="m.data", size_threshold=100)
    config = onnx_lobs.PruneConfig(sparsity=0.5, **QUICK)
    report = prune_file(path, output, config, data=DATA)
    assert len(report.layers) == len(CONVOLUTIONS)
    stored = {t.name: t for t in onnx.load(output, load_external_data=False).graph.initializer}
    assert not any(name.endswith("weight_v") for name in stored)
    assert stored["first.weight"].data_location == onnx.TensorProto.EXTERNAL
    whole = onnx.load(output)
    within = onnx_lobs.prune(GENERATOR, DATA, sparsity=0.5, **QUICK).model
    for name in CONVOLUTIONS:
        found = initializer(whole, f"{name}.weight")
        assert np.array_equal(found, initializer(within, f"{name}.weight"))


def imports_graphsurgeon(*command: str) -> bool:
    code = (
        "import sys\nfrom onnx_lobs.cli.main import main\n"
        f"sys.argv = {['onnx-lobs', *command]!r}\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('onnx_graphsurgeon' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1] == "True"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["--help"], ["inspect", str(LENET)]])
def test_graphsurgeon_is_not_imported_without_need(command: list[str]) -> None:
    assert not imports_graphsurgeon(*command)


@pytest.mark.slow
def test_graphsurgeon_is_imported_where_weights_are_folded(tmp_path: Path) -> None:
    onnx.save(GENERATOR, tmp_path / "m.onnx")
    assert imports_graphsurgeon("inspect", str(tmp_path / "m.onnx"))
