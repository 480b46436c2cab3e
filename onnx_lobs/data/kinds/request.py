"""Holds what a kind of data is opened with: the files, the model's inputs, the options."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.options.samples import SampleOptions


class LabelNeed(Enum):
    """Tells whether labels are asked of the data.

    ``NEEDED``: an error says why there are none. ``WELCOME``: a note does. ``UNUSED``: nothing.
    """

    NEEDED = "needed"
    WELCOME = "welcome"
    UNUSED = "unused"


@dataclass(frozen=True)
class Place:
    """Files to read, and what they are called.

    Parameters
    ----------
    name
        The first words of messages.
    root
        The file or folder that was named; the common folder of a pattern or a list.
    files
        Those that it means, in order; of a folder none, before it is known what is looked for.
    is_folder
        Whether a folder was named, which may hold other files too; else every file counts.
    """

    name: str
    root: Path
    files: tuple[Path, ...]
    is_folder: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What its files are called, seen from its root."""
        root = self.root if self.root not in self.files else self.root.parent
        return tuple(os.path.relpath(path, root) for path in self.files)

    @property
    def is_grouped(self) -> bool:
        """Whether its files lie in several folders."""
        return len({path.parent for path in self.files}) > 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """How samples are to be read.

    Parameters
    ----------
    inputs
        The model's inputs.
    samples
        Largest number of samples used; None: all.
    batch_size
        Samples per batch where the model does not fix it.
    seed
        Seeds the choice of samples.
    options
        How files that are no arrays become samples.
    input_shapes
        Full shapes of inputs, for sizes that the model leaves open.
    n_classes
        Scores that the model gives for a sample; None: not known.
    labels
        Whether labels are asked for.
    """

    inputs: Sequence[InputSpec]
    samples: int | None
    batch_size: int
    seed: int = 0
    options: SampleOptions = field(default_factory=SampleOptions)
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    n_classes: int | None = None
    labels: LabelNeed = LabelNeed.UNUSED
