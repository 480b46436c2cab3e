"""The guide is read from the package: every page has a title, and a topic names one page."""

from __future__ import annotations

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.verbs.guide import list_topics, read_topic


def test_topics_are_in_order_and_every_page_begins_with_its_title() -> None:
    topics = list_topics()
    assert list(topics) == sorted(topics)
    for topic, title in topics.items():
        assert title
        assert read_topic(topic).startswith(f"# {title}\n")


def test_an_unknown_topic_names_those_that_are_near() -> None:
    with pytest.raises(ConfigError, match="guide topic 'commandline' is unknown; did you mean co"):
        read_topic("commandline")
    with pytest.raises(ConfigError, match=r"guide topic '' is unknown; choose .*command-line"):
        read_topic("")
