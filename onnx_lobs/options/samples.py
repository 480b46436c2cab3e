"""Declares how pictures, sound, texts and tables become the values that a model takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.number_kinds import SIDES, count, number, numbers_of
from onnx_lobs.options.option import Affects, option
from onnx_lobs.options.word_kinds import choice, file, text

PRESETS = ("imagenet", "0-1", "-1-1", "0-255")
LAYOUTS = ("nchw", "nhwc")
CHANNEL_ORDERS = ("rgb", "bgr", "gray")
VALUES = ("preset", "mean", "std", "scale")  # what decides which number a pixel becomes


def _check_mean(name: str, values: Sequence[float]) -> None:
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise ConfigError(f"{name} is {values}; give one finite number, or three: red,green,blue")


def _check_std(name: str, values: Sequence[float]) -> None:
    _check_mean(name, values)
    if min(values) <= 0:
        raise ConfigError(f"{name} is {values}; it must be above 0")


def _check_scale(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}; it must be finite and above 0, e.g. 0.00392157")


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of how files that are no arrays become samples."""

    preset: str | None = option(
        None,
        "How pixels are scaled: imagenet (0 to 1, then less the mean and over the deviation of "
        "ImageNet), 0-1, -1-1, or 0-255 (as they are).",
        choice(PRESETS),
        unset="the one with which the dense model scores best, or else looks most at home",
        more="In place of `mean`, `std` and `scale`. A warning says which one was found.",
        also=("evaluate", "inspect"),
    )
    mean: tuple[float, ...] | None = option(
        None,
        "Taken off each pixel, after `scale`: one number, or red,green,blue.",
        numbers_of(_check_mean),
        unset="0",
        more="A pixel becomes (pixel * scale - mean) / std. In the order of a picture's colours, "
        "whatever `channel_order` is.",
        also=("evaluate", "inspect"),
    )
    std: tuple[float, ...] | None = option(
        None,
        "What pixels are divided by, after `mean`: one number, or red,green,blue.",
        numbers_of(_check_std),
        unset="1",
        also=("evaluate", "inspect"),
    )
    scale: float | None = option(
        None,
        "What pixels of 0 to 255 are multiplied by first.",
        number(_check_scale, "X"),
        unset="1 where `mean` or `std` exceeds 1 and speaks of pixels of 0 to 255, else 1/255",
        also=("evaluate", "inspect"),
    )
    layout: str | None = option(
        None,
        "Where the channels of pictures stand: second, or last.",
        choice(LAYOUTS),
        unset="where the model has 1 or 3 of them",
        also=("evaluate", "inspect"),
    )
    resize: tuple[int, ...] | None = option(
        None,
        "Size that pictures are brought to before they are cropped: N for the shorter side, or "
        "HxW, which stretches.",
        SIDES,
        unset="as small as covers the crop",
        also=("evaluate", "inspect"),
    )
    crop: tuple[int, ...] | None = option(
        None,
        "Size of the middle that is taken of a picture, N or HxW.",
        SIDES,
        unset="the size that the model takes; where that is open, `resize`",
        also=("evaluate", "inspect"),
    )
    channel_order: str | None = option(
        None,
        "Order of the colours, or gray.",
        choice(CHANNEL_ORDERS),
        unset="rgb, and gray where the model takes one channel",
        also=("evaluate", "inspect"),
    )
    classes: str | None = option(
        None,
        "Which class each folder of a labelled set (class/name.jpg) is: one name a line in the "
        "order of the model's outputs, or name,index as csv, or JSON.",
        file(),
        unset="folders named by numbers, or as many folders as the model has classes, in "
        "alphabetical order",
        affects=Affects.RUN,
        also=("evaluate", "inspect"),
    )
    sample_rate: int | None = option(
        None,
        "Samples of sound a second that the model takes; files of another rate are refused.",
        count(1),
        unset="not looked at, with a warning that names the files' rate",
        also=("evaluate", "inspect"),
    )
    tokenizer: str | None = option(
        None,
        "Turns texts into tokens: a tokenizer.json.",
        file(),
        unset="tokenizer.json beside the texts",
        also=("evaluate", "inspect"),
    )
    max_length: int | None = option(
        None,
        "Most tokens of a text, or values of a sound; what is longer is cut.",
        count(1),
        unset="what the model fixes; else 128 tokens, and all of a sound",
        also=("evaluate", "inspect"),
    )
    label_column: str | None = option(
        None,
        "Column of a table that holds the class: its name, or its number from 0.",
        text("NAME"),
        unset="one named label, labels or y",
        also=("evaluate", "inspect"),
    )

    def values_given(self) -> tuple[str, ...]:
        """Return the options of how pixels are scaled that were given."""
        return tuple(name for name in VALUES if getattr(self, name) is not None)


SAMPLE_OPTIONS = tuple(field.name for field in fields(SampleOptions))


def check_values(options: SampleOptions) -> None:
    """Raise ConfigError when options of how pixels are scaled contradict each other."""
    given = options.values_given()
    if options.preset is not None and len(given) > 1:
        raise ConfigError(
            f"preset is {options.preset!r} and {given[1]} is {getattr(options, given[1])}; give "
            "the preset, or mean, std and scale"
        )
