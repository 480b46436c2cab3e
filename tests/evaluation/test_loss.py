"""The one figure by which networks are compared, against plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from build_onnx import normal
from networks import Array, Network, batches_of, same

from onnx_lobs.evaluation.loss import OutputLoss, is_clearly_lower, output_loss

EXACT = 1e-12  # float64 sums in another order
X = normal(1, 7, 3), normal(2, 2, 3)
DATA = list(batches_of(*X))
NAN = float("nan")


def test_error_and_changed_choices_are_those_of_all_outputs() -> None:
    w = normal(3, 3, 4).astype(np.float64)
    v = w + normal(4, 3, 4)
    dense, pruned = Network(a=lambda x: x @ w, b=same), Network(a=lambda x: x @ v, b=same)
    found = output_loss(dense, pruned, DATA)
    x = np.concatenate(X).astype(np.float64)
    change, energy = np.square(x @ v - x @ w).sum(), np.square(x @ w).sum() + np.square(x).sum()
    assert found.error == pytest.approx(change / energy, rel=EXACT)
    changed = int(((x @ w).argmax(1) != (x @ v).argmax(1)).sum())
    assert 0 < changed < 9
    assert (found.changed, found.positions) == (changed, 18)
    share = (changed + 1) / (18 + 1)
    assert found.value == pytest.approx(math.sqrt(change / energy * share), rel=EXACT)


def test_where_all_choices_stay_the_error_decides() -> None:
    losses = [output_loss(Network(a=same), Network(a=lambda x, f=f: f * x), DATA)
              for f in (1.0, 1.1, 1.2)]  # fmt: skip
    assert [loss.changed for loss in losses] == [0, 0, 0]
    values = [loss.value for loss in losses]
    assert values[0] == 0.0 < values[1] < values[2]


def test_choices_outweigh_an_error_that_is_little_lower() -> None:
    """As measured on the PP-OCR recogniser: the lower error had far more lines wrong."""
    softened, turned = OutputLoss(0.041, 30, 2400), OutputLoss(0.026, 200, 2400)
    assert softened.value < turned.value


def test_one_choice_more_does_not_outweigh_an_error_that_is_lower_by_half() -> None:
    assert OutputLoss(0.01, 11, 512).value < OutputLoss(0.02, 10, 512).value


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (OutputLoss(0.14), OutputLoss(0.2), True),
        (OutputLoss(0.15), OutputLoss(0.2), False),
        (OutputLoss(0.02, 0, 32), OutputLoss(0.2, 0, 32), True),
        (OutputLoss(0.02, 1, 32), OutputLoss(0.9, 0, 32), False),  # it changes a choice more
        (OutputLoss(0.2, 20, 99), OutputLoss(0.3, 39, 99), True),
        (OutputLoss(0.2, 30, 99), OutputLoss(0.3, 30, 99), False),
    ],
)
def test_a_loss_is_clearly_lower_by_a_share_and_without_more_changed_choices(
    one: OutputLoss, other: OutputLoss, expected: bool
) -> None:
    assert is_clearly_lower(one, other, 0.701) == expected


@pytest.mark.parametrize(
    ("loss", "change", "value"),
    [
        (OutputLoss(0.5), 0.5, 0.5),
        (OutputLoss(None, 3, 9), 1 / 3, 0.4),
    ],
)
def test_one_of_the_two_is_the_value_where_the_other_is_missing(
    loss: OutputLoss, change: float, value: float
) -> None:
    assert loss.is_known
    assert loss.change == change
    assert loss.value == pytest.approx(value, rel=EXACT)


def test_a_loss_of_nothing_has_no_value() -> None:
    loss = OutputLoss(None)
    assert not loss.is_known
    assert loss.change is None
    with pytest.raises(ValueError, match="without an error and without choices"):
        _ = loss.value


def test_labels_alone_are_counted_and_maps_are_not() -> None:
    ids = Network(ids=lambda x: np.arange(len(x)))
    other = Network(ids=lambda x: np.where(np.arange(len(x)) == 0, -1, np.arange(len(x))))
    assert output_loss(ids, ids, DATA) == OutputLoss(None, 0, 9)
    assert output_loss(ids, other, DATA) == OutputLoss(None, 2, 9)
    maps = Network(maps=lambda x: [{0: 1.0}])
    assert output_loss(maps, maps, DATA) == OutputLoss(None)


@pytest.mark.parametrize("spoil", [lambda x: x[:1], lambda x: np.where(x == x.max(), NAN, x)])
def test_what_cannot_be_compared_counts_as_zeros(spoil: Callable[[Array], Array]) -> None:
    dense = Network(a=same, b=same)
    # a value that is infinite in one network alone is not in the energy either
    found = output_loss(dense, Network(a=same, b=spoil), DATA)
    expected = output_loss(dense, Network(a=same, b=lambda x: 0 * x), DATA)
    assert expected.error == pytest.approx(0.5, rel=EXACT)
    assert found.error == pytest.approx(expected.error, abs=0.1)
    assert found.changed > 0


def test_choices_whose_number_changed_all_count_as_changed() -> None:
    found: Any = output_loss(Network(a=same), Network(a=lambda x: x[:-1]), DATA)
    assert (found.changed, found.positions) == (9, 9)
