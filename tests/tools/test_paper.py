"""The systems that the paper compares with do what their papers say, on small cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from paper import compressors, dynamic
from paper.curvature import layer_hessian, row_hessians, second_derivatives
from paper.hessians import NETWORKS, time_inverse
from paper.light import AIMS, FC1_LESS, LEARNT, LightCourse, judged, lightly
from paper.net_trim import net_trim
from paper.networks import (
    LENET_5,
    OURS,
    Mnist,
    dense_network,
    kept_share,
    perceptron,
    run_on,
    tensors_of,
    with_tensors,
)
from paper.report import markdown, refreshed
from paper.table_1 import by_deviation, geometric_stages
from paper.training import LabelCourse, LabelTraining, largest, masked, train_survivors

from onnx_lobs.arrays import Array, FloatArray

SIZES = (784, 20, 8, 10)
N = 200
SECOND = 2e-3  # relative: the graph computes in float32, the differences in float64
STEP = 1e-3  # of a difference; the loss is smooth between the kinks of ReLU
rng = np.random.default_rng(0)


def small_model(seed: int = 0) -> onnx.ModelProto:
    """Return LeNet-300-100 with 20 and 8 neurons, random weights."""
    draw = np.random.default_rng(seed)
    weights = {}
    for number in (1, 2, 3):
        columns, rows = SIZES[number - 1 : number + 1]
        weight = draw.standard_normal((rows, columns)) * 1.5 / np.sqrt(columns)
        weights[f"fc{number}.weight"] = weight.astype(np.float32)
        weights[f"fc{number}.bias"] = (0.1 * draw.standard_normal(rows)).astype(np.float32)
    return perceptron(weights)


@pytest.fixture(scope="module")
def mnist() -> Mnist:
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 10, N)
    centres = draw.random((10, 1, 28, 28)) < 0.1
    images = centres[labels] * 1.0 + 0.1 * draw.random((N, 1, 28, 28))
    return Mnist(images.astype(np.float32), labels, images, labels)


def loss_if_labels_were_drawn(values: dict[str, FloatArray], x: FloatArray, p: FloatArray) -> float:
    """Return the cross entropy in float64, expected over labels drawn with probabilities p."""
    for number in (1, 2, 3):
        x = x @ values[f"fc{number}.weight"].T + values[f"fc{number}.bias"]
        x = np.maximum(x, 0) if number < 3 else x
    logs = x - x.max(1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(1, keepdims=True))
    return float(-(p * logs).sum(1).mean())


def probabilities(values: dict[str, FloatArray], x: FloatArray) -> FloatArray:
    for number in (1, 2, 3):
        x = x @ values[f"fc{number}.weight"].T + values[f"fc{number}.bias"]
        x = np.maximum(x, 0) if number < 3 else x
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def second_difference(
    values: dict[str, FloatArray], x: FloatArray, change: dict[str, FloatArray]
) -> float:
    """Return the second derivative of the expected loss along a change."""
    p = probabilities(values, x)

    def at(part: float) -> float:
        moved = {name: v + part * change.get(name, 0.0) for name, v in values.items()}
        return loss_if_labels_were_drawn(moved, x, p)

    return (at(STEP) - 2 * at(0) + at(-STEP)) / STEP**2


@pytest.fixture(scope="module")
def double(mnist: Mnist) -> tuple[dict[str, FloatArray], FloatArray]:
    values = {name: v.astype(np.float64) for name, v in tensors_of(small_model()).items()}
    return values, mnist.images.reshape(N, -1).astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fc2.weight", "fc3.weight"])
def test_second_derivatives_of_the_loss_are_second_differences(double, mnist, name):
    values, x = double
    found = second_derivatives(small_model(), mnist.images)[name]
    assert found.shape == values[name].shape
    for place in [(0, 0), (3, 2), (7, 5)]:
        change = np.zeros_like(values[name])
        change[place] = 1
        expected = second_difference(values, x, {name: change})
        assert found[place] == pytest.approx(expected, rel=SECOND, abs=1e-6)


def test_the_matrix_of_a_layer_is_the_second_derivative_along_any_change(double, mnist):
    values, x = double
    found = layer_hessian(small_model(), "fc3.weight", mnist.images)
    change = rng.standard_normal((10, 9))
    expected = second_difference(
        values, x, {"fc3.weight": change[:, :-1], "fc3.bias": change[:, -1]}
    )
    flat = change.reshape(-1)
    assert flat @ found @ flat == pytest.approx(expected, rel=SECOND)


def test_the_matrix_of_a_neuron_has_its_bias_at_the_optimum(double, mnist):
    values, x = double
    found, means = row_hessians(small_model(), "fc3.weight", mnist.images)
    change = rng.standard_normal(8)

    def along(moved: FloatArray, bias: float) -> float:
        weight, biases = np.zeros((10, 8)), np.zeros(10)
        weight[4], biases[4] = moved, bias
        return second_difference(values, x, {"fc3.weight": weight, "fc3.bias": biases})

    bias = -float(change @ means[4])
    assert change @ found[4] @ change == pytest.approx(along(change, bias), rel=SECOND)
    assert along(change, bias) < min(along(change, bias + 0.1), along(change, bias - 0.1))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_largest_keeps_a_share_of_the_largest(share):
    scores = rng.random((20, 10))
    mask = largest(scores, share)
    assert mask.sum() == round(200 * share)
    assert scores[mask].min(initial=2) >= scores[~mask].max(initial=-1)


@pytest.mark.slow
def test_training_survivors_learns_and_keeps_zeros(mnist):
    pruned = by_deviation(small_model(), mnist, (0.5, 0.5, 0.8))
    masks = {n: v != 0 for n, v in tensors_of(pruned).items() if v.ndim > 1}
    trained = train_survivors(pruned, masks, mnist, LabelCourse(100, 0.1, 50))
    wrong = [(run_on(m, mnist.images).argmax(1) != mnist.labels).mean() for m in (pruned, trained)]
    assert wrong[1] < 0.5 * wrong[0]
    assert kept_share(trained) == kept_share(pruned)
    assert all(not tensors_of(trained)[name][~mask].any() for name, mask in masks.items())


def test_gradients_reach_weights_that_the_forward_pass_leaves_out(mnist):
    training = LabelTraining(small_model(), mnist, LabelCourse(0, 0.0, 50))
    mask = np.zeros((10, 8), bool)
    values = masked(training.start, {"fc3.weight": mask})
    found = training.gradients(values)["fc3.weight"]
    assert (found != 0).mean() > 0.5  # not from neurons that no image makes active


def test_splicing_takes_small_weights_out_and_lets_large_ones_back():
    limit = dynamic.Threshold(1.0, 0.0, 0.0)
    weight = np.array([0.5, -0.95, 1.05, -1.2])
    mask = np.array([True, True, False, False])
    assert dynamic.splice(weight, mask, limit).tolist() == [False, True, False, True]


def test_the_first_threshold_leaves_the_share():
    weight = rng.standard_normal((50, 40))
    limit = dynamic.threshold_for(weight, 0.1)
    assert (np.abs(weight) > limit.value).mean() == pytest.approx(0.1, abs=1e-3)
    assert limit.value == pytest.approx(np.abs(weight).mean() + limit.factor * limit.deviation)


@pytest.mark.slow
@pytest.mark.parametrize("train", [dynamic.surgery, dynamic.skinny])
def test_dynamic_training_recovers_what_pruning_loses(mnist, train):
    model = small_model()
    kept = {f"fc{n}.weight": share for n, share in ((1, 0.1), (2, 0.3), (3, 0.5))}
    model = train_survivors(model, {}, mnist, LabelCourse(100, 0.1, 50))
    first, last = train(model, kept, mnist, LabelCourse(140, 0.03, 50))
    wrong = [(run_on(m, mnist.images).argmax(1) != mnist.labels).mean() for m in (first, last)]
    assert wrong[1] < wrong[0]
    assert kept_share(last) < 0.2


def test_skinny_keeps_exactly_the_share(mnist):
    kept = {"fc1.weight": 0.1, "fc2.weight": 0.5, "fc3.weight": 1.0}
    _, last = dynamic.skinny(small_model(), kept, mnist, LabelCourse(14, 0.03, 50))
    for name, share in kept.items():
        weight = tensors_of(last)[name]
        assert np.count_nonzero(weight) == round(share * weight.size)


def test_low_rank_is_exact_where_the_bytes_hold_the_rank():
    weight = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 50))
    assert np.allclose(compressors.low_rank(weight, 4 * 4 * 80), weight)
    assert not np.allclose(compressors.low_rank(weight, 4 * 3 * 80), weight)


def test_low_rank_filters_are_two_convolutions():
    vertical, horizontal = rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 5, 6))
    weight = np.einsum("kch,kwn->nchw", vertical, horizontal)
    assert np.allclose(compressors.low_rank_filters(weight, 4 * 2 * (15 + 30)), weight)


def test_clusters_of_few_values_are_exact():
    values = rng.choice([-1.0, 0.25, 2.0], 300)[:, None]
    assert np.allclose(compressors.cluster(values, 4), values)


@pytest.mark.parametrize("n_bytes", [60, 200, 1000])
def test_shared_values_fit_their_bytes_and_get_nearer_with_more(n_bytes):
    weight = np.random.default_rng(2).standard_normal((16, 32))
    found, word = compressors.shared_values(weight, n_bytes)
    k, length = map(int, word.split(" means of "))
    assert np.ceil(weight.size / length * np.log2(k) / 8) + 4 * k * length <= n_bytes
    more, _ = compressors.shared_values(weight, 2 * n_bytes)
    assert np.square(more - weight).sum() < np.square(found - weight).sum()


def test_predicted_weights_are_exact_where_all_are_stored():
    weight = rng.standard_normal((6, 16))
    kernel = compressors.distance_kernel(4, 4)
    found = compressors.predicted(weight, kernel, 4 * 6 * 16, hessian=np.eye(16))
    assert np.allclose(found, weight, atol=1e-2)


def test_fitted_predictions_change_outputs_less_than_stored_ones():
    x = rng.standard_normal((100, 16)) @ rng.standard_normal((16, 16))
    weight, hessian = rng.standard_normal((6, 16)), x.T @ x / 100
    kernel = compressors.distance_kernel(4, 4)
    errors = [
        np.square((compressors.predicted(weight, kernel, 200, hessian=h) - weight) @ x.T).sum()
        for h in (None, hessian)
    ]
    assert errors[1] < errors[0]


def test_sparse_bytes_take_the_smaller_index():
    assert compressors.sparse_bytes(8000, 400) == 1600 + 800
    assert compressors.sparse_bytes(8000, 4000, 1) == 4000 + 1000


@pytest.mark.parametrize("xi", [0.2, 0.5])
def test_net_trim_keeps_the_error_and_makes_zeros(xi):
    draw = np.random.default_rng(3)
    x = np.maximum(draw.standard_normal((400, 20)), 0)
    weight, bias = draw.standard_normal((6, 20)), draw.standard_normal(6)
    sparse, moved, error = net_trim(weight, bias, x, xi)
    dense = np.maximum(x @ weight.T + bias, 0)
    pruned = np.maximum(x @ sparse.T + moved, 0)
    assert error == pytest.approx(np.linalg.norm(pruned - dense) / np.linalg.norm(dense))
    assert error <= 1.05 * xi  # ADMM meets the limit in the end only
    assert 0.1 < (sparse == 0).mean() < 1
    assert np.abs(sparse).sum() < np.abs(weight).sum()


@pytest.mark.slow
@pytest.mark.parametrize("towards", AIMS)
def test_a_light_course_learns_its_aim_and_keeps_zeros(mnist, towards):
    dense = train_survivors(small_model(), {}, mnist, LabelCourse(100, 0.1, 50))
    pruned = by_deviation(dense, mnist, (0.3, 0.5, 0.8))
    course = LightCourse(60, towards, 20, images=150)
    trained = lightly(pruned, dense, mnist, course)
    losses = [judged(m, mnist.images[150:], mnist.labels[150:])[1] for m in (pruned, trained)]
    assert losses[1] < losses[0]
    for name, before in tensors_of(pruned).items():
        assert not tensors_of(trained)[name][before == 0].any() or before.ndim == 1


def test_a_network_is_judged_by_wrong_answers_and_cross_entropy(mnist):
    model = small_model()
    p = probabilities({k: v.astype(np.float64) for k, v in tensors_of(model).items()},
                      mnist.images.reshape(N, -1).astype(np.float64))  # fmt: skip
    wrong, loss = judged(model, mnist.images, mnist.labels)
    assert wrong == 100 * (p.argmax(1) != mnist.labels).mean()
    assert loss == pytest.approx(-np.log(p[np.arange(N), mnist.labels]).mean(), rel=1e-5)


def test_less_of_fc1_leaves_exactly_nine_weights_of_a_thousand():
    values = tensors_of(dense_network(LENET_5, OURS))
    sizes = [v.size for v in values.values() if v.ndim > 1]
    kept = sum(round(share * size) for share, size in zip(FC1_LESS, sizes, strict=True))
    assert kept == round(0.009 * sum(sizes))
    assert LEARNT < 60_000  # some training images are left to judge by


def test_stages_fall_by_equal_factors():
    stages = geometric_stages((0.08, 0.5), (0.02, 0.5), (10, 10, 20))
    assert [steps for _, steps in stages] == [10, 10, 20]
    assert [shares[0] for shares, _ in stages] == pytest.approx([0.08, 0.04, 0.02])


def test_the_time_of_an_inverse_is_that_of_a_positive_matrix():
    found = time_inverse(96)
    assert found["gram"] >= 0
    assert found["mean"] == pytest.approx(1.0, abs=0.1)  # random inputs: nearly the identity


@pytest.mark.parametrize(("name", "matrices"), [("AlexNet", 11), ("VGG-16", 16), ("ResNet-50", 54)])
def test_large_networks_have_as_many_matrices_as_layers_and_groups(name, matrices):
    network = next(network for network in NETWORKS if network.name == name)
    assert sum(n for _, n in network.sizes) == matrices


def test_a_page_has_the_papers_figures_beside_ours():
    row = {"table": "1", "network": "LeNet-5", "origin": "ours", "method": "LWC", "kept": 8.1,
           "dense": 0.48, "pruned": 9.0, "retrained": {"740": 0.61}, "facts": {}}  # fmt: skip
    page = markdown({"x": row})
    assert "| LeNet-5, ours | LWC | 0.48 | 8.1 | 9.00 | 0.61 (740) | 8 | 89.55 | 1.36 |" in page


def test_courses_show_the_mean_of_seeds_and_its_error():
    facts = {"towards": "labels", "batch": None, "pruned": [0.5, 0.5], "test": [0.5, 0.6],
             "held out": [0.2, 0.4], "loss": [0.01, 0.02]}  # fmt: skip
    row = {"table": "courses", "method": "7 %", "kept": 7.0, "retrained": {"740": 0.55},
           "facts": facts}  # fmt: skip
    line = (
        "| 7 % | 7.00 | labels | 512, by itself | 740 | 0.0150 | 0.30 ± 0.10 | 0.50 | 0.55 ± 0.05 |"
    )
    assert line in markdown({"x": row})


ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tools" / "results" / "reproduce_paper.json"


@pytest.mark.skipif(not RESULTS.exists(), reason="the sdist has no results as JSON")
@pytest.mark.parametrize("name", ["paper.md", "retraining.md"])
def test_the_guide_has_the_tables_of_the_results(name):
    rows = json.loads(RESULTS.read_text())
    page = (ROOT / "onnx_lobs/guide" / name).read_text()
    assert refreshed(page, rows) == page, "run tools/reproduce_paper.py --merge with no new rows"
    assert page.count(" --- ") > 5


def test_refreshing_a_page_changes_the_rows_of_its_table_alone():
    row = {"table": "fc3", "kept": 70.0, "pruned": 1.6, "facts": {"exact-obs": 1.7}}
    head = markdown({"x": row}).split("\n\n")[-1].splitlines()[0]
    page = f"before\n\n{head}\n| --- | --- | --- |\n| 1 | 2 | 3 |\n\nbehind\n"
    found = refreshed(page, {"x": row})
    assert found.startswith("before\n\n| kept |")
    assert found.endswith("| 70 | 1.60 | 1.70 |\n\nbehind\n")


def as_array(model: onnx.ModelProto, name: str) -> Array:
    return tensors_of(model)[name]


def test_tensors_can_be_replaced_without_touching_the_model():
    model = small_model()
    other = with_tensors(model, {"fc1.bias": np.ones(20)})
    assert as_array(other, "fc1.bias").tolist() == [1] * 20
    assert as_array(model, "fc1.bias").tolist() != [1] * 20
