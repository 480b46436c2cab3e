"""The options of where a run works: provider, memory, folders."""

from __future__ import annotations

from typing import Annotated

from onnx_lobs.cli.options import option
from onnx_lobs.options.config import GRAMS

_MACHINE = "Machine"

Provider = Annotated[
    str,
    option(
        _MACHINE,
        "--provider",
        metavar="NAME",
        help="Where onnxruntime runs: cpu, cuda, or an execution provider's full name.",
    ),
]
GramChoice = Annotated[
    str,
    option(
        _MACHINE,
        "--gram",
        metavar="|".join(GRAMS),
        help="What computes the Grams of --independent; auto: the graph itself but on cpu.",
    ),
]
Memory = Annotated[
    str | None,
    option(
        _MACHINE,
        "--memory",
        metavar="SIZE",
        help="Memory for activations, Grams and weights, e.g. 2GiB; what does not fit goes to "
        "--scratch or takes another pass. Default: from what is available.",
        show_default=False,
    ),
]
ScratchFolder = Annotated[
    str | None,
    option(
        _MACHINE,
        "--scratch",
        metavar="DIR",
        help="Folder for what does not fit in memory; emptied at the end. Default: the system's.",
        show_default=False,
    ),
]
CacheFolder = Annotated[
    str | None,
    option(
        _MACHINE,
        "--cache",
        metavar="DIR",
        help="Keep Grams and solved layers here: an interrupted run goes on, and another "
        "sparsity reuses the Grams of --independent.",
        show_default=False,
    ),
]
