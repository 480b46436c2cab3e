"""Verbs are made of declarations; help lists the ten most used options first."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from onnx_lobs.cli.verb import CONTEXT, MOST_USED, OWN, Verb, as_command
from onnx_lobs.cli.verbs import VERBS
from onnx_lobs.options.config import PANELS


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_option_of_a_verb_is_a_parameter_once(verb: Verb) -> None:
    names = [option.name for option in verb.options]
    parameters = inspect.signature(as_command(verb)).parameters
    assert sorted(set(parameters) - {*OWN, CONTEXT}) == sorted(names)
    assert len(set(names)) == len(names)
    flags = [
        flag
        for name, parameter in parameters.items()
        if name != CONTEXT
        for flag in getattr(get_args(parameter.annotation)[1], "param_decls", ()) or ()
    ]
    assert len(set(flags)) == len(flags)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_options_of_a_panel_stand_together_behind_the_arguments(verb: Verb) -> None:
    panels = [option.panel for option in verb.ordered()]
    blocks = [p for i, p in enumerate(panels) if i == 0 or panels[i - 1] != p]
    assert len(set(blocks)) == len(blocks)
    assert all(o.is_argument for o in verb.ordered()[: panels.count("")])
    assert [p for p in blocks if p in PANELS] == [p for p in PANELS if p in blocks]


def test_prune_shows_the_ten_most_used_first_in_their_order() -> None:
    (prune,) = (verb for verb in VERBS if verb.name == "prune")
    used = [option for option in prune.ordered() if option.panel == MOST_USED]
    assert [option.rank for option in used] == list(range(1, 11))
    assert [option.name for option in prune.ordered()[1:4]] == ["sparsity", "data", "output"]
