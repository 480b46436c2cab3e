"""Words that no verb reads: the message says how to write what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnx_lobs.cli.words import check_words
from onnx_lobs.errors import ConfigError

VERBS = ("prune", "inspect", "guide")
FLAGS = {"-d", "--data", "--overwrite"}


@pytest.mark.parametrize(
    ("model", "extra", "message"),
    [
        ("prun", (), "did you mean 'prune'?"),
        ("prun", ("m.onnx",), "did you mean 'prune'?"),
        ("help", (), "run onnx-lobs --help"),
        ("m.onnx", ("n.onnx",), "evaluate m.onnx n.onnx -d DATA"),
        ("m.onnx", ("a.jpg", "b.jpg", "c.jpg", "d.jpg"), "'a.jpg', 'b.jpg', 'c.jpg', ... is too"),
    ],
)
def test_words_are_refused(model: str, extra: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?").replace("...", r"\.\.\.")):
        check_words("prune", {"model": Path(model)}, extra, VERBS, FLAGS)


def test_an_option_where_a_value_belongs_is_refused() -> None:
    with pytest.raises(ConfigError, match="data is '--overwrite', which is an option"):
        check_words("prune", {"model": "m.onnx", "data": "--overwrite"}, (), VERBS, FLAGS)


def test_files_are_what_they_are_called(tmp_path: Path) -> None:
    existing = tmp_path / "prun"
    existing.touch()
    for model in (existing, tmp_path / "inspect.onnx", tmp_path / "resnet"):
        check_words("prune", {"model": model, "data": None}, (), VERBS, FLAGS)
