"""Who is told of a run's advance: an object, a function, or nobody."""

from __future__ import annotations

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.report.progress import Silent, as_progress


def test_a_function_is_called_with_phase_steps_done_and_all() -> None:
    seen: list[tuple[str, int, int]] = []
    progress = as_progress(lambda *step: seen.append(step))
    progress.start("layers", 3)
    progress.advance()
    progress.advance(2)
    progress.start("writing", 1)
    assert seen == [("layers", 0, 3), ("layers", 1, 3), ("layers", 3, 3), ("writing", 0, 1)]


def test_print_is_such_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    as_progress(print).start("layers", 3)
    assert capsys.readouterr().out == "layers 0 3\n"


def test_an_object_is_told_itself_and_none_is_silent() -> None:
    told = Silent()
    assert as_progress(told) is told
    assert isinstance(as_progress(None), Silent)


@pytest.mark.parametrize(("told", "name"), [(3, "int"), ("bar", "str"), (Silent, "Silent")])
def test_what_cannot_be_told_is_one_sentence(told: object, name: str) -> None:
    with pytest.raises(ConfigError, match=f"progress is {name}, which .* f\\(phase, done, total"):
        as_progress(told)  # type: ignore[arg-type]
