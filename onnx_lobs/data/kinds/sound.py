"""Opens sound files as samples: cut or filled up to the length that the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec, kind
from onnx_lobs.data.kinds.class_folders import folder_labels
from onnx_lobs.data.kinds.extras import need
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.data.kinds.samples import Sample, SampleSource, sampled_batches
from onnx_lobs.errors import ConfigError, DataError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au")
READS = ("sample_rate", "max_length", "classes")
_RATES = ("sr", "sample_rate", "sampling_rate", "samplerate")
_MOST_CHANNELS = 8


@dataclass(frozen=True)
class SoundForm:
    """What a sound becomes.

    Parameters
    ----------
    spec
        The input that it fills.
    channels
        How many; None: the input has no axis for them.
    is_last
        Whether the channels stand behind the time.
    length
        Values of each; None: as many as the file has, filled up to the longest of a batch.
    most
        Values that are taken of a file, where `length` is open; None: all.
    """

    spec: InputSpec
    channels: int | None
    is_last: bool
    length: int | None
    most: int | None

    @property
    def time_axis(self) -> int:
        """The axis of a sample along which time goes."""
        return 0 if self.channels is None or self.is_last else 1


def open_sound(place: Place, request: Request) -> Batches:
    """Return batches of sounds, which are read when they are needed. Uses soundfile.

    Channels are averaged where the model takes one. Nothing is resampled. An input for the sample
    rate gets it; one for lengths (``*len*``) gets the number of values before filling up.

    Raises
    ------
    DataError
        When a file is broken or has another sample rate or number of channels, or the model has
        no input for sound.
    ConfigError
        When soundfile is not installed.
    """
    form = sound_form(request)
    _, own = read_sound(place.files[0])
    rate = request.options.sample_rate or own
    lengths = [spec.name for spec in request.inputs if "len" in spec.name.lower()]

    def read(i: int) -> Sample:
        values = _fitted(_checked(place.files[i], rate, request), form, place.files[i])
        count = {name: np.asarray(values.shape[form.time_axis], np.int64) for name in lengths}
        return {form.spec.name: _filled(values, form, form.length), **count}

    def join(samples: Sequence[Sample]) -> dict[str, Array]:
        name = form.spec.name
        longest = max(sample[name].shape[form.time_axis] for sample in samples)
        joined = {key: np.stack([sample[key] for sample in samples]) for key in lengths}
        filled = [_filled(sample[name], form, longest) for sample in samples]
        return {name: np.stack(filled), **joined}

    found = folder_labels(place, request)
    sides = {s.name: np.asarray(rate, np.int64) for s in request.inputs if _is_rate(s)}
    notes = () if request.options.sample_rate is not None else (_rate_note(place, own),)
    source = SampleSource(
        place.name,
        len(place.files),
        read,
        sides,
        found.labels,
        place.is_grouped,
        (*found.notes, *notes),
        join,
        place.names,
    )
    return sampled_batches(source, request)


def _rate_note(place: Place, rate: int) -> str:
    return (
        f"the sounds of {place.name} have {rate} samples a second, which was taken for what the "
        f"model was trained with; --sample-rate {rate} says that it is"
    )


def _is_rate(spec: InputSpec) -> bool:
    return spec.name.lower() in _RATES


def sound_form(request: Request) -> SoundForm:
    """Return the form of sounds that fill the model's input of floats.

    Raises
    ------
    DataError
        When there is no single input of floats with up to three axes.
    """
    others = [s for s in request.inputs if not (_is_rate(s) or "len" in s.name.lower())]
    if len(others) != 1 or kind(others[0].dtype) != "float" or not _has_rank(others[0]):
        words = ", ".join(f"{s.name!r} {s.dtype} {s.shape}" for s in others)
        raise DataError(
            f"sounds fill one input of floats with 1 to 3 axes, and the model takes {words}; give "
            "npz files, or FILE.py:FUNCTION, which yields all inputs by name"
        )
    spec = others[0]
    shape = tuple(request.input_shapes.get(spec.name, spec.shape or ()))
    most = request.options.max_length
    channels: int | None = None
    is_last, time = False, shape[-1]
    if len(shape) == 3:
        is_last = not _are_channels(shape[1]) and _are_channels(shape[2])
        wide, time = (shape[2], shape[1]) if is_last else (shape[1], shape[2])
        channels = wide if isinstance(wide, int) else 1
        if not _are_channels(channels):
            raise DataError(
                f"input {spec.name!r} {shape} has {channels} channels, so it takes no sound but "
                "what was computed of it; give arrays (npz)"
            )
    length = time if isinstance(time, int) else None
    if length is not None and most is not None and most > length:
        raise ConfigError(f"max_length is {most}, but input {spec.name!r} takes {length} values")
    return SoundForm(spec, channels, is_last, length, most)


def _has_rank(spec: InputSpec) -> bool:
    return spec.shape is not None and 1 <= len(spec.shape) <= 3


def _are_channels(size: object) -> bool:
    return isinstance(size, int) and size <= _MOST_CHANNELS


def read_sound(path: Path) -> tuple[Array, int]:
    """Return a sound as float32 (values, channels) in -1 to 1, and its samples a second.

    Raises
    ------
    DataError
        When the file is missing or broken.
    ConfigError
        When soundfile is not installed.
    """
    soundfile = need("soundfile", "sound", "sound is read by soundfile")
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        raise DataError(
            f"the sound {path} cannot be read ({str(error).splitlines()[0]}); remove or replace it"
        ) from error
    return values, int(rate)


def _checked(path: Path, rate: int, request: Request) -> Array:
    """Return a sound whose sample rate is the one that is wanted."""
    values, own = read_sound(path)
    if own != rate:
        given = request.options.sample_rate
        words = "the files before it have" if given is None else "--sample-rate says"
        raise DataError(
            f"{path} has {own} samples a second, and {words} {rate}; resample it, e.g. with "
            f"sox or ffmpeg -ar {rate}"
        )
    return values


def _fitted(values: Array, form: SoundForm, path: Path) -> Array:
    """Return (values, channels) cut and in the model's channels and order of axes."""
    values = values[: form.length or form.most]
    if form.channels in (None, 1):
        values = values.mean(axis=1, keepdims=True)
    if form.channels is None:
        return values[:, 0]
    if values.shape[1] != form.channels:
        raise DataError(
            f"{path} has {values.shape[1]} channels, and input {form.spec.name!r} takes "
            f"{form.channels}; convert it"
        )
    return values if form.is_last else values.T


def _filled(values: Array, form: SoundForm, length: int | None) -> Array:
    """Return a sound with zeros behind it up to a length."""
    missing = 0 if length is None else length - values.shape[form.time_axis]
    if missing <= 0:
        return values
    widths = [(0, 0)] * values.ndim
    widths[form.time_axis] = (0, missing)
    return np.pad(values, widths)
