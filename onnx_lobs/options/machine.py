"""Declares the options of where a run works: provider, memory, folders."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.number_kinds import size
from onnx_lobs.options.option import Affects, option
from onnx_lobs.options.word_kinds import choice, folder, text

GRAMS = ("auto", "numpy", "graph")
LEAST_MEMORY = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """The options of where a run works."""

    provider: str = option(
        "cpu",
        "Where onnxruntime runs: cpu, cuda, or an execution provider's full name.",
        text("NAME"),
        also=("evaluate",),
        aliases=("device", "execution_provider", "ep"),
    )
    gram: str = option(
        "auto",
        "What computes the Grams of `sequential=False`; auto: the graph itself but on cpu.",
        choice(GRAMS),
        more="numpy: from the activations. graph: onnxruntime, so that only d x d matrices leave "
        "the device. NumPy reads `positions` of a convolution, the graph all. Other Grams, and "
        "those that the graph cannot compute, are NumPy's; the report's warnings name the latter.",
    )
    memory: int | None = option(
        None,
        "Memory for activations, Grams and weights, e.g. 2GiB; what does not fit goes to the disk "
        "or takes another pass.",
        size(LEAST_MEMORY),
        unset="from what is available",
        more="The disk is the folder `scratch`; a large model is run in stages. What is available "
        "gives half of it to activations; Grams then get 2 GiB, weights 1 GiB.",
        affects=Affects.RUN,
        also=("evaluate",),
    )
    scratch: str | None = option(
        None,
        "Folder for what does not fit in memory; emptied at the end.",
        folder(),
        unset="the system's",
        affects=Affects.RUN,
    )
    cache: str | None = option(
        None,
        "Keep Grams and solved layers here: an interrupted run goes on, and another sparsity "
        "reuses the Grams of `sequential=False`.",
        folder(),
        unset="nothing is kept",
        affects=Affects.RUN,
    )
