"""One pass gives what the scores and the comparison give one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import normal
from networks import Network, batches_of, same

from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.builtin import SCORES
from onnx_lobs.evaluation.find import find_score
from onnx_lobs.evaluation.judge import judge
from onnx_lobs.evaluation.judged_network import JudgedNetwork
from onnx_lobs.evaluation.output import output_change
from onnx_lobs.evaluation.score import DenseOutputs

DATA = batches_of(normal(1, 9, 6), normal(2, 4, 6), labels=np.arange(13) % 6)


def networks() -> tuple[Network, Network]:
    return Network(y=same), Network(y=lambda x: x + np.linspace(0, 1, 6))


def judged(*networks: Network) -> tuple[JudgedNetwork, JudgedNetwork]:
    one, other = map(JudgedNetwork, networks)
    return one, other


def test_one_pass_gives_every_score_and_the_change() -> None:
    dense, pruned = networks()
    scores = list(SCORES.values())
    found = judge(*judged(dense, pruned), DATA, scores)
    assert (dense.runs, pruned.runs) == (2, 2)
    reference = DenseOutputs(dense, DATA)
    assert found.change == output_change(reference, pruned, DATA)
    for score, (before, after) in zip(scores, found.scores, strict=True):
        assert before.value == score.compute(dense, DATA).value
        assert after.value == score.compute(pruned, DATA, reference).value
        assert np.array_equal(
            after.outcomes,  # type: ignore[arg-type]
            score.compute(pruned, DATA, reference).outcomes,  # type: ignore[arg-type]
        )


def test_the_users_function_is_called_for_both() -> None:
    def score(run: Any, batches: Any) -> float:
        return sum(float(run(feeds)["y"].sum()) for feeds, _ in batches)

    dense, pruned = networks()
    found = judge(*judged(dense, pruned), DATA, [find_score(score), SCORES["top1"]])
    (before, after), (hits, _) = found.scores
    # 13 samples get 0 + 0.2 + ... + 1; sums of 78 values in float32
    assert after.value - before.value == pytest.approx(39, rel=1e-5)
    assert hits.n == 13


def test_scores_that_need_labels_are_refused_before_any_run() -> None:
    dense, pruned = networks()
    with pytest.raises(DataError, match="has no labels"):
        judge(*judged(dense, pruned), batches_of(normal(1, 9, 6)), [SCORES["top1"]])
    assert dense.runs == 0
