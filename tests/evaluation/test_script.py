"""The user's function: its two forms, what it may return, and how its failures are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_onnx import normal
from networks import Network, batches_of, same

from onnx_lobs.errors import ConfigError, InferenceError, ScoreError
from onnx_lobs.evaluation.builtin import SCORES
from onnx_lobs.evaluation.find import find_score

NETWORK = Network(y=same)
DATA = batches_of(normal(1, 3, 4), normal(2, 2, 4), labels=[0, 1, 2, 3, 0])
Script = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def write(text: str) -> Path:
        path = tmp_path / "my_score.py"
        path.write_text(text)
        return path

    return write


def test_a_function_of_run_needs_no_data(script: Script) -> None:
    path = script(
        "import numpy as np\ndef score(run):\n    return run({'x': np.full(2, 3.0)})['y'].sum()\n"
    )
    score = find_score(f"{path}:score")
    assert (score.needs_data, score.needs_labels) == (False, False)
    assert score.name == f"{path}:score"
    found = score.compute(NETWORK, None)
    assert (found.value, found.n, found.standard_error) == (6.0, 0, None)


def test_a_function_of_batches_gets_feeds_and_labels_as_often_as_it_likes(script: Script) -> None:
    path = script(
        "def hits(run, batches):\n"
        "    assert len(batches) == len(list(batches)) == 2\n"
        "    return [float(g == l) for feeds, labels in batches\n"
        "            for g, l in zip(run(feeds)['y'].argmax(1), labels)]\n"
    )
    score = find_score(f"{path}:hits")
    told: list[int] = []
    found, expected = score.compute(NETWORK, DATA, None, told.append), SCORES["top1"]
    assert score.needs_data
    assert told == [1, 1]
    assert found.outcomes is not None
    assert np.array_equal(found.outcomes, expected.compute(NETWORK, DATA).outcomes)  # type: ignore[arg-type]
    assert found.standard_error == expected.compute(NETWORK, DATA).standard_error


def test_without_labels_the_function_gets_none() -> None:
    def score(run: Any, batches: Iterable[Any]) -> int:
        return sum(labels is None for _, labels in batches)

    assert find_score(score).compute(NETWORK, batches_of(normal(1, 3, 4))).value == 1.0
    assert find_score(score).name == "score"


def test_a_script_may_import_what_lies_beside_it_and_leaves_no_trace(
    script: Script, tmp_path: Path
) -> None:
    (tmp_path / "beside_my_score.py").write_text("VALUE = 0.25\n")
    path = script(
        "from __future__ import annotations\n"
        "import dataclasses\n"
        "@dataclasses.dataclass\n"
        "class A:\n    x: int\n"
        "def score(run):\n"
        "    from beside_my_score import VALUE\n"
        "    return VALUE\n"
    )
    before = list(sys.path)
    assert find_score(f"{path}:score").compute(NETWORK, None).value == 0.25
    assert sys.path == before


@pytest.mark.parametrize(
    ("signature", "needs_data"),
    [
        ("run", False),
        ("run, batches", True),
        ("run, data", True),
        ("run, batches=None", True),
        ("run, verbose=False", False),
        ("run, *rest, **options", False),
    ],
)
def test_the_signature_tells_the_form(signature: str, needs_data: bool) -> None:
    names: dict[str, Any] = {}
    exec(f"def score({signature}): return 1.0", names)
    assert find_score(names["score"]).needs_data is needs_data
    assert find_score(names["score"]).compute(NETWORK, DATA).value == 1.0


@pytest.mark.parametrize("signature", ["", "a, b, c", "run, *, key", "*runs"])
def test_other_signatures_are_refused(signature: str) -> None:
    names: dict[str, Any] = {}
    exec(f"def score({signature}): return 1.0", names)
    with pytest.raises(ConfigError, match=r"score 'score' takes .*; write `def score\(run\)` or"):
        find_score(names["score"])


def test_a_callable_without_a_signature_is_refused() -> None:
    with pytest.raises(ConfigError, match="score 'type' has no signature; write"):
        find_score(type)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "top3",
            "score 'top3' is unknown; did you mean 'top5'. choose one of .* or FILE.py:FUNCTION",
        ),
        (":score", "score ':score' is not understood; write FILE.py:FUNCTION"),
        ("gone.py:score", "score 'gone.py:score': there is no Python file 'gone.py'"),
        ("{path}:", "is not understood"),
        ("{path}:recall", "my_score.py has no function 'recall'; it has score; write `def"),
        ("{path}:VALUE", "has no function 'VALUE'"),
    ],
)
def test_a_score_that_is_not_there_is_refused(script: Script, name: str, message: str) -> None:
    path = script("VALUE = 3\ndef score(run): return 1.0\n")
    with pytest.raises(ConfigError, match=message):
        find_score(name.format(path=path))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    return {}['key']", r"raised KeyError: 'key' \(my_score.py, line 3\)"),
        ("    raise ValueError('a\\nb')", r"raised ValueError: a \("),
        ("    raise ValueError", r"raised ValueError: no message \("),
        ("    import sys; sys.exit(3)", "raised SystemExit: 3"),
        ("    return run(None)", r"raised TypeError: .*\(my_score.py, line 3\)"),
        ("    return 'high'", "returned a str; return a number, or one per sample"),
        ("    return [[1], [2, 3]]", "returned a list; return a number, or one per sample"),
        ("    return None", "returned a NoneType; return a number"),
        ("    return float('nan')", "returned nan; return finite numbers"),
        ("    return [1.0, float('inf')]", "returned inf; return finite numbers"),
        ("    return []", r"returned an array of shape \(0,\)"),
        ("    return [[1.0]]", r"returned an array of shape \(1, 1\)"),
    ],
)
def test_a_function_that_fails_is_named_in_one_line(
    script: Script, body: str, message: str
) -> None:
    path = script(f"# a comment\ndef score(run):\n{body}\n")
    with pytest.raises(ScoreError, match=message) as error:
        find_score(f"{path}:score").compute(NETWORK, None)
    assert str(error.value).startswith(f"score {path}:score ")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def score(run) return 1\n", r"raised SyntaxError: .*my_score.py, line 1"),
        ("import no_such_module_here\n", "raised ModuleNotFoundError: .*line 1"),
    ],
)
def test_a_script_that_does_not_load_is_named(script: Script, text: str, message: str) -> None:
    path = script(text)
    with pytest.raises(ScoreError, match=message):
        find_score(f"{path}:score")


def test_what_onnxruntime_refuses_is_told_with_the_functions_name() -> None:
    def fail(x: Any) -> Any:
        raise InferenceError("onnxruntime failed on inputs of shape")

    def score(run: Any) -> float:
        return float(run({"x": 1})["y"])

    with pytest.raises(ScoreError, match="score score raised InferenceError: onnxruntime failed"):
        find_score(score).compute(Network(y=fail), None)


def test_an_interrupt_goes_through(script: Script) -> None:
    path = script("def score(run):\n    import sys; sys.path.pop(0)\n    raise KeyboardInterrupt\n")
    before = list(sys.path)
    with pytest.raises(KeyboardInterrupt):
        find_score(f"{path}:score").compute(NETWORK, None)
    assert sys.path == before
