"""Finds out how a model wants pixels scaled, where pictures were given and nothing was said.

The dense network runs on some pictures under each preset. Labels decide, if they are there and it
does better than guessing; else :mod:`onnx_lobs.evaluation.plausible_pixels` does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import kind
from onnx_lobs.data.kinds.images import open_images
from onnx_lobs.data.kinds.picture_form import PictureForm, picture_form
from onnx_lobs.data.kinds.pixel_values import PRESET_VALUES
from onnx_lobs.data.kinds.request import Request
from onnx_lobs.data.kinds.table import recognise
from onnx_lobs.data.reader import input_specs
from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.builtin import class_count, class_indices, find_scores
from onnx_lobs.evaluation.plausible_pixels import (
    KeptMoments,
    fit_to_moments,
    informed,
    kept_moments,
)
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.session import Session, find_provider
from onnx_lobs.memory.shares import share_out
from onnx_lobs.options.config import PruneConfig

PROBED = 64  # pictures
CLEARLY = 3  # standard errors above guessing
RAW = "0-255"
UNKNOWN = "0-1"  # what most models take, where nothing tells


@dataclass(frozen=True)
class Rating:
    """How a preset does: the share of labels hit, and how plausible the network's values are."""

    preset: str
    hits: float | None
    plausible: float | None
    low: float
    high: float


def choose_preset(
    loaded: LoadedModel, sources: Sequence[Any], config: PruneConfig
) -> tuple[PruneConfig, list[str]]:
    """Return the options with a preset, where pictures need one and none was given; and a warning.

    Parameters
    ----------
    loaded
        The dense model.
    sources
        Test data and calibration data; None: there is none. The first pictures with labels are
        looked at, else the first pictures.
    config
        The options.

    Raises
    ------
    DataError, ConfigError
        When pictures cannot be opened.

    Notes
    -----
    Cost: four forward passes over 64 pictures. A model that runs in stages is not looked at.
    """
    found = [one for source in sources if (one := recognise(source)) is not None]
    places = [place for kind_, place in found if kind_.open is open_images]
    is_large = external_bytes(loaded.proto) > share_out(config.memory).weights
    if not places or config.values_given() or is_large:
        return config, []
    request = Request(
        inputs=input_specs(loaded.proto),
        samples=PROBED,
        batch_size=1,
        seed=config.seed,
        options=dataclasses.replace(config, preset=RAW),
        input_shapes=config.input_shapes,
        n_classes=class_count(loaded.proto),
    )
    form = picture_form(request)
    if kind(form.spec.dtype) == "int":
        return config, []
    opened = [open_images(place, request) for place in places]
    batches = next((one for one in opened if one.labels is not None), opened[0])
    ratings = list(_ratings(loaded, batches, form, config))
    best, why = _best(ratings, class_count(loaded.proto), batches.n_samples)
    return dataclasses.replace(config, preset=best.preset), [_words(best, why, ratings, form)]


def _ratings(
    loaded: LoadedModel, batches: Batches, form: PictureForm, config: PruneConfig
) -> Iterator[Rating]:
    """Yield the rating of each preset."""
    provider = find_provider(config.provider)
    executable, _ = to_executable(loaded.proto, loaded.folder, provider)
    kept = kept_moments(Model(executable, loaded.folder))
    names = [output.name for output in executable.graph.output]
    shown = sorted({one.value for one in kept} - set(names))
    session = Session(executable, folder=loaded.folder, provider=provider, shown=shown)
    shape = (1, 1, 1, -1) if form.is_last else (1, -1, 1, 1)
    for preset, values in PRESET_VALUES.items():
        sides = values.affine(form.channels, is_reversed=form.order == "bgr")
        factor, offset = (np.reshape(side, shape) for side in sides)
        if form.spec.shape is not None and len(form.spec.shape) == 3:
            factor, offset = factor[0], offset[0]
        outputs = []
        low, high = np.inf, -np.inf
        for feeds in batches:
            pixels = feeds[form.spec.name] * factor + offset
            low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
            outputs.append(session.run({form.spec.name: pixels.astype(form.spec.dtype)}))
        own = [{name: batch[name] for name in names} for batch in outputs]
        hits = _hits(own, batches.labels)
        yield Rating(preset, hits, _plausible(kept, outputs, own), low, high)


def _plausible(
    kept: Sequence[KeptMoments],
    values: Sequence[Mapping[str, Array]],
    outputs: Sequence[Mapping[str, Array]],
) -> float | None:
    if kept:
        return fit_to_moments(kept, {k.value: [v[k.value] for v in values] for k in kept})
    return informed(outputs)


def _hits(outputs: Sequence[Mapping[str, Array]], labels: Array | None) -> float | None:
    """Return the share of pictures whose label the network chooses; None: that cannot be said."""
    if labels is None:
        return None
    try:
        scores = np.concatenate([find_scores(dict(batch)) for batch in outputs])
        wanted = class_indices(labels, *scores.shape)
    except DataError:
        return None  # what is wrong is said when the data are opened to score
    return float((scores.argmax(axis=1) == wanted).mean())


def _best(ratings: Sequence[Rating], n_classes: int | None, n: int) -> tuple[Rating, str]:
    """Return the best rating, and what decided."""
    hits = [one.hits for one in ratings if one.hits is not None]
    chance = 1 / n_classes if n_classes else 1.0
    if hits and max(hits) > chance + CLEARLY * math.sqrt(chance * (1 - chance) / n):
        return max(ratings, key=lambda r: (r.hits or 0, _rank(r))), "hits"
    if len({one.plausible for one in ratings}) == 1:  # one picture tells nothing
        return next(one for one in ratings if one.preset == UNKNOWN), ""
    return max(ratings, key=_rank), "plausible"


def _rank(rating: Rating) -> float:
    return -math.inf if rating.plausible is None else rating.plausible


def _words(best: Rating, why: str, ratings: Sequence[Rating], form: PictureForm) -> str:
    """Return the warning that says what was chosen, and by what."""
    scaled = (
        f"pictures were scaled by --preset {best.preset} ({form.spec.name!r} goes from "
        f"{best.low:.4g} to {best.high:.4g})"
    )
    advice = "if the model was trained with another scale, give --preset, or --mean and --std"
    if not why:
        return f"{scaled}, a guess, as nothing in the model tells: {advice}"
    if why == "hits":
        how = "the dense model's top1 is best with it"
        shown = [f"{one.preset} {100 * (one.hits or 0):.1f} %" for one in ratings]
    else:
        how = "the dense model looks most at home with it"
        shown = [f"{one.preset} {_rank(one):.3g}" for one in ratings]
    return f"{scaled}, because {how} ({', '.join(shown)}): {advice}"
