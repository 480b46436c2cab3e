"""Runs one stage of a network, in a session that is made when the first batch comes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import Stage, cut, stage_session


class LazyStage:
    """A stage's session, made when its first batch shows the types of its inputs."""

    def __init__(self, model: Model, stage: Stage, provider: str) -> None:
        self.model, self.stage, self.provider = model, stage, provider
        self.session: Session | None = None

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Return the stage's outputs on one batch."""
        if not self.stage.nodes:
            return {}
        if self.session is None:
            self.session = stage_session(self.model, self.stage, feeds, self.provider)
        return self.session.run(feeds)


def stages_by_stop(model: Model, stops: Mapping[int, Collection[str]]) -> dict[int, Stage]:
    """Return the stage that ends just before each stop, in their order; see :func:`cut`."""
    return dict(zip(sorted(stops), cut(model, stops) if stops else (), strict=True))


def first_reads(stages: Mapping[int, Stage]) -> set[str]:
    """Return the values that must be there before the first stage runs."""
    return {name for stage in list(stages.values())[:1] for name in (*stage.inputs, *stage.live)}
