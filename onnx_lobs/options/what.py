"""Declares the options of what is pruned: how much, where, and in which layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_lobs.errors import ConfigError, did_you_mean
from onnx_lobs.options.checks import check_sparsity, finite
from onnx_lobs.options.number_kinds import FRACTIONS, count, number, size
from onnx_lobs.options.option import Affects, option
from onnx_lobs.options.word_kinds import GLOBS, SWITCH, choice, choices, text

OP_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN")
PATTERN_FORMS = ("unstructured", "N:M", "RxC")
ALLOCATIONS = ("auto", "uniform", "erk", "global")
TIED = ("keep", "prune")
BUDGETS = ("weights", "bytes", "macs", "channels", "latency")
CHANNELS = "channels"  # the one pattern that removes what it prunes
CHANNEL_CHOICES = ("obs", "l1", "l2", "apoz", "random")
_PATTERN_TEXTS = (*PATTERN_FORMS, CHANNELS)
_PATTERN_WORDS = tuple(form for form in _PATTERN_TEXTS if form.islower())


def check_pattern(name: str, value: str) -> None:
    """Raise ConfigError when a pattern is nearly a word that is one; others are read later."""
    near = did_you_mean(value, _PATTERN_WORDS)
    if near and value not in _PATTERN_WORDS:
        raise ConfigError(
            f"{name} {value!r} is unknown; {near}write {', '.join(_PATTERN_TEXTS)}, such as 2:4"
        )


@dataclass(frozen=True, kw_only=True)
class WhatOptions:
    """The options of what is pruned."""

    sparsity: float | None = option(
        None,
        "Fraction of the prunable weights that become zero: at least 0, below 1.",
        number(check_sparsity),
        flags=("-s", "--sparsity"),
        unset="0.5, or what an N:M pattern has",
        more="The number of zeros is exact.",
        affects=Affects.SOLVING,
        brief="Share of the weights that become zero [0.5].",
        rank=1,
        aliases=("amount", "ratio", "prune_ratio", "pruning_ratio", "rate"),
    )
    pattern: str = option(
        "unstructured",
        "Where zeros may stand: anywhere; N kept of M consecutive input channels (2:4); blocks of "
        "R outputs times C inputs (4x1); or whole channels, which are then removed.",
        text("|".join(_PATTERN_TEXTS), check_pattern, _PATTERN_WORDS),
        more="The M channels of N:M are those of one kernel position. The guide's page "
        "on channels tells what goes together with one.",
        also=("inspect",),
        affects=Affects.SOLVING,
        brief="Where zeros may stand: anywhere, 2:4, blocks as 4x1, channels.",
        rank=6,
    )
    channels: float | None = option(
        None,
        "Remove this share of the multiplications first, as whole channels; zeros follow among the "
        "weights that stay.",
        number(check_sparsity),
        unset="none are removed",
        more="One run, one report: scores and errors are against the model as it was given. "
        "`budget` channels or latency, `align` and `channel_choice` are then those of the "
        "channels.",
        affects=Affects.SOLVING,
        aliases=("channel_sparsity", "ch_sparsity"),
    )
    max_drop: float | None = option(
        None,
        "Instead of `sparsity`: as sparse as this drop of the score on `test` data allows, e.g. "
        "0.01 for one point, with 95 % confidence.",
        number(finite("0.01")),
        more="The confidence is that of a mean over samples; a score that is no such mean is "
        "taken as measured. With very few samples a network passes that looks no worse than an "
        "unchanged one.",
        affects=Affects.SOLVING,
        brief="Instead of -s: as sparse as this drop of the score allows.",
        rank=5,
    )
    max_output_error: float | None = option(
        None,
        "Instead of `sparsity`: as sparse as this relative squared change of the outputs on the "
        "calibration data allows.",
        number(finite("0.01")),
        affects=Affects.SOLVING,
    )
    max_bytes: int | None = option(
        None,
        "Instead of `sparsity`: no sparser than makes the file this small, e.g. 500KB; with "
        "`storage` sparse.",
        size(1),
        affects=Affects.SOLVING,
    )
    layer_sparsity: Mapping[str, float] = option(
        {},
        "Sparsity of the layers that match, e.g. '*fc*=0.7'; the last match wins.",
        FRACTIONS,
        more="Patterns are those of `include`. A layer that is named in full is pruned even when "
        "it would be left dense by default, unless it is excluded.",
        affects=Affects.SOLVING,
    )
    layer_min: Mapping[str, float] = option(
        {},
        "Least sparsity of the layers that match, however the zeros are shared; the last match "
        "wins, and `layer_sparsity` over it.",
        FRACTIONS,
        affects=Affects.SOLVING,
    )
    layer_max: Mapping[str, float] = option(
        {},
        "Largest sparsity of the layers that match. As `layer_min`.",
        FRACTIONS,
        affects=Affects.SOLVING,
    )
    allocation: str = option(
        "auto",
        "How zeros are shared between layers: the same fraction everywhere; fewer in small layers "
        "(erk); by measured curves and sensitivities (global); auto tries them all.",
        choice(ALLOCATIONS),
        more="erk: the density of a layer is proportional to the sum over the product of its "
        "dimensions. global: the least sum of the layers' error curves, each times what the "
        "network's output was measured to make of it. auto: the best of these and of several in "
        "between, tried on calibration samples that were held out.",
        affects=Affects.SOLVING,
    )
    budget: str | None = option(
        None,
        "What `sparsity` is a fraction of: weights, bytes as stored, multiplications; of whole "
        "channels also channels, or milliseconds (latency).",
        choice(BUDGETS),
        unset="weights; macs with pattern channels",
        more="Multiplications are those of one sample. With pattern channels they, or the bytes, "
        "are those of the layers that can lose channels. Milliseconds are measured on this "
        "machine, on one thread of onnxruntime, for several widths of every layer.",
        affects=Affects.SOLVING,
    )
    align: int | None = option(
        None,
        "Where whole channels go: keep a multiple of so many of each group.",
        count(1),
        unset="8, but 1 in groups of fewer than 32; with budget latency 8 from 16 channels on, and "
        "16 from 32 on where 8 is no faster",
        more="Kernels work on 8 or 16 channels at once: 127 may be slower than 128.",
        affects=Affects.SOLVING,
    )
    channel_choice: str = option(
        "obs",
        "Where whole channels go, which: those whose loss the others can make up for (obs), or "
        "the usual scores to compare it with.",
        choice(CHANNEL_CHOICES),
        more="l1 and l2: the least norm of a channel's filters. apoz: the least active on average.",
        affects=Affects.SOLVING,
    )
    drop_empty: bool = option(
        False,
        "Drop channels without loss that nothing but zeros read or make.",
        SWITCH,
        more="Filters of zeros, and columns of zeros in all that read a channel, as single weights "
        "leave them at high sparsity. What a filter of zeros gives, its bias, goes into the "
        "biases of the layers that read it. With sparsity 0 a model that was pruned before.",
        affects=Affects.RUN,
    )
    include: tuple[str, ...] = option(
        (),
        "Only nodes and weights with such a name ('re:' for a regular expression), even those left "
        "dense by default; one that matches nothing is an error.",
        GLOBS,
        more="Left dense by default are depthwise layers, unless zeros are measured, those of "
        "few weights, and fixed transforms of signals: Fourier, cosine, constant-Q, mel filters.",
        affects=Affects.SOLVING,
        also=("inspect",),
    )
    exclude: tuple[str, ...] = option(
        (),
        "Leave such nodes and weights dense. As `include`; wins over it.",
        GLOBS,
        affects=Affects.SOLVING,
        also=("inspect",),
    )
    op_types: tuple[str, ...] = option(
        OP_TYPES,
        "Operators taken.",
        choices(OP_TYPES, "op type", "OP,OP"),
        affects=Affects.SOLVING,
        also=("inspect",),
    )
    min_weights: int = option(
        64,
        "Leave layers with fewer weights dense.",
        count(0),
        affects=Affects.SOLVING,
        also=("inspect",),
    )
    tied: str = option(
        "keep",
        "Weights that something else reads too, as an embedding that is also the output layer: "
        "keep them dense, or prune them for all that read them.",
        choice(TIED),
        more="Other readers, of whatever kind, then see the pruned weight. It is solved before "
        "the first of them, on inputs of the dense network, and the layers behind it are "
        "calibrated on what it makes of theirs. A weight that is an output of the graph stays "
        "dense.",
        affects=Affects.SOLVING,
        also=("inspect",),
    )
