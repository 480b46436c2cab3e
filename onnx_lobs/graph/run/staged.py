"""A model too large to be held, run piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.external import stored_bytes
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import constant_makers, cut, stage_session


class Runnable(Protocol):
    """Anything that gives a model's outputs for its inputs."""

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Return the outputs by name."""


def open_session(
    model: Model, *, provider: str, limit: int, shown: Sequence[str] = (), as_float: bool = False
) -> Runnable:
    """Return what runs a model: one session, or stages where its weights exceed `limit` bytes.

    `shown` are values of the main graph to give beside the outputs; `as_float` as of
    :class:`~onnx_lobs.graph.run.session.Session`.
    """
    given = {output.name for output in model.main.graph.output} | set(shown)
    has_constants = bool(given & {*model.main.initializers, *constant_makers(model)})
    if model.weight_bytes <= limit or has_constants:
        return Session(
            model.proto, folder=model.folder, provider=provider, shown=shown, as_float=as_float
        )
    return StagedSession(model, provider=provider, limit=limit, shown=shown, as_float=as_float)


class StagedSession:
    """Runs a model in stages, of which only one is loaded at a time.

    Parameters
    ----------
    model
        Execution copy. Its weights may change between runs.
    provider
        Full name of an execution provider.
    limit
        Bytes of weights in a stage; a stage has at least one node.
    shown
        Values of the main graph to give beside the outputs.
    as_float
        As of :class:`~onnx_lobs.graph.run.session.Session`.

    Notes
    -----
    Every run reads the whole model anew, a few seconds per GB at most, so batches should not
    be small. Sums may be rounded otherwise than in one session.
    """

    def __init__(
        self,
        model: Model,
        *,
        provider: str,
        limit: int,
        shown: Sequence[str] = (),
        as_float: bool = False,
    ) -> None:
        self.model, self.provider, self.as_float = model, provider, as_float
        self.outputs = [*(output.name for output in model.main.graph.output), *shown]
        stops: dict[int, set[str]] = {index: set() for index in cuts(model, limit)}
        stops[len(model.main.graph.node)] = set(self.outputs)
        self.stages = cut(model, stops)

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Return the outputs by name, as :meth:`onnx_lobs.graph.run.session.Session.run`."""
        values = dict(feeds)
        for stage in self.stages:
            if stage.nodes:
                session = stage_session(
                    self.model, stage, values, self.provider, as_float=self.as_float
                )
                values |= session.run(values)
                del session
            values = {name: values[name] for name in values if name in stage.live}
        return {name: values[name] for name in (self.outputs if outputs is None else outputs)}


def cuts(model: Model, limit: int) -> Iterator[int]:
    """Yield the nodes before which a new stage begins, of at most `limit` bytes of weights."""
    sizes = {name: stored_bytes(t) for name, t in model.main.initializers.items()}
    behind = {name: {name} for name in sizes}  # weights that a constant is made of
    makers = constant_makers(model)
    used = 0
    for index, node in enumerate(model.main.graph.node):
        read = set[str]().union(*(behind.get(name, ()) for name in outer_names(node)))
        if any(makers.get(name) == index for name in node.output):
            behind |= dict.fromkeys(node.output, read)
            continue  # it runs in every stage that reads what it makes
        size = sum(sizes[name] for name in read)
        if used and used + size > limit:
            yield index
            used = 0
        used += size
